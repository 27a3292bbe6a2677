/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The image builder. */
#include "image_builder.h"

#include <string.h>

#include "pe/format.h"

void image_put(struct image *image, size_t offset, unsigned width, uint64_t value)
{
	for (unsigned i = 0; i < width; i++, value >>= 8)
		image->bytes[offset + i] = (uint8_t)value;
}

static void put_at(struct image *image, uint32_t rva, unsigned width, uint64_t value)
{
	image_put(image, IMAGE_OFFSET(rva), width, value);
}

static void put_string(struct image *image, uint32_t rva, const char *string)
{
	memcpy(image->bytes + IMAGE_OFFSET(rva), string, strlen(string) + 1);
}

static void build_optional_header(struct image *image)
{
	bool wide = image->wide;
	uint32_t p = IMAGE_OPTIONAL;

	image_put(image, p, 2, wide ? 0x20b : 0x10b);
	image_put(image, p + 16, 4, IMAGE_ENTRY_RVA);
	if (wide)
		image_put(image, p + 24, 8, IMAGE_BASE_X64);
	else
		image_put(image, p + 28, 4, IMAGE_BASE_X86);
	image_put(image, p + 32, 4, 0x1000); /* section alignment */
	image_put(image, p + 36, 4, 0x200);  /* file alignment */
	image_put(image, p + 40, 4, 0x00010006);
	image_put(image, p + 48, 4, 0x00010006); /* subsystem version 6.1 */
	image_put(image, p + 56, 4, 0x1000 * (IMAGE_SECTIONS + 1));
	image_put(image, p + 60, 4, IMAGE_RAW); /* size of the headers */
	image_put(image, p + 68, 2, IMAGE_SUBSYSTEM_NATIVE);
	image_put(image, p + 70, 2, IMAGE_DLLCHARACTERISTICS_DYNAMIC_BASE | IMAGE_DLLCHARACTERISTICS_NX_COMPAT);
	image_put(image, p + (wide ? 108 : 92), 4, 16);
}

static void put_directory(struct image *image, unsigned i, uint32_t rva, uint32_t size)
{
	image_put(image, IMAGE_DIRECTORY(image->wide, i), 4, rva);
	image_put(image, IMAGE_DIRECTORY(image->wide, i) + 4, 4, size);
}

static void build_headers(struct image *image)
{
	static const struct {
		const char *name;
		uint32_t characteristics;
	} sections[IMAGE_SECTIONS] = {
		{ ".text", 0x68000020 }, { ".rdata", 0x48000040 }, { ".data", 0xc8000040 },
		{ "INIT", 0x62000020 },  { ".reloc", 0x42000040 },
	};

	memcpy(image->bytes, "MZ", 2);
	image_put(image, 60, 4, IMAGE_PE);
	memcpy(image->bytes + IMAGE_PE, "PE\0", 4);
	image_put(image, IMAGE_PE + 4, 2, image->wide ? 0x8664 : 0x14c);
	image_put(image, IMAGE_PE + 6, 2, IMAGE_SECTIONS);
	image_put(image, IMAGE_PE + 8, 4, 0x4d4f4f4e); /* timestamp */
	image_put(image, IMAGE_PE + 20, 2, image->wide ? 240 : 224);
	image_put(image, IMAGE_PE + 22, 2, IMAGE_FILE_EXECUTABLE_IMAGE);
	build_optional_header(image);
	for (unsigned i = 0; i < IMAGE_SECTIONS; i++) {
		uint32_t p = IMAGE_SECTION(image->wide, i);

		memcpy(image->bytes + p, sections[i].name, strlen(sections[i].name));
		image_put(image, p + 8, 4, IMAGE_RAW);
		image_put(image, p + 12, 4, 0x1000 * (i + 1));
		image_put(image, p + 16, 4, IMAGE_RAW);
		image_put(image, p + 20, 4, IMAGE_RAW * (i + 1));
		image_put(image, p + 36, 4, sections[i].characteristics);
	}
}

/* x64 reaches both by distance, x86 by addresses that need relocations. */
static void build_code(struct image *image)
{
	if (image->wide) {
		put_at(image, IMAGE_ENTRY_RVA, 3, 0x058b48); /* mov rax, [rip + …] */
		put_at(image, IMAGE_ENTRY_RVA + 3, 4, IMAGE_POINTER - (IMAGE_ENTRY_RVA + 7));
		put_at(image, IMAGE_ENTRY_RVA + 7, 1, 0xc3);
		put_at(image, IMAGE_CALL_RVA, 2, 0x25ff); /* jmp [rip + …] */
		put_at(image, IMAGE_CALL_RVA + 2, 4, IMAGE_IAT_STORPORT - (IMAGE_CALL_RVA + 6));
		return;
	}
	put_at(image, IMAGE_ENTRY_RVA, 1, 0xa1); /* mov eax, [address] */
	put_at(image, IMAGE_ENTRY_RVA + 1, 4, IMAGE_BASE_X86 + IMAGE_POINTER);
	put_at(image, IMAGE_ENTRY_RVA + 5, 1, 0xc3);
	put_at(image, IMAGE_CALL_RVA, 2, 0x25ff); /* jmp [address] */
	put_at(image, IMAGE_CALL_RVA + 2, 4, IMAGE_BASE_X86 + IMAGE_IAT_STORPORT);
}

static void build_imports(struct image *image)
{
	unsigned width = image->wide ? 8 : 4;
	const uint32_t descriptors[2][3] = {
		{ IMAGE_NAMES_STORPORT, IMAGE_DLL_STORPORT, IMAGE_IAT_STORPORT },
		{ IMAGE_NAMES_NTOSKRNL, IMAGE_DLL_NTOSKRNL, IMAGE_IAT_NTOSKRNL },
	};

	put_string(image, IMAGE_NAME_INITIALIZE + 2, "StorPortInitialize");
	put_string(image, IMAGE_NAME_NOTIFICATION + 2, "StorPortNotification");
	put_string(image, IMAGE_NAME_BUGCHECK + 2, "KeBugCheckEx");
	put_string(image, IMAGE_DLL_STORPORT, "storport.sys");
	put_string(image, IMAGE_DLL_NTOSKRNL, "ntoskrnl.exe");
	for (unsigned i = 0; i < 2; i++) {
		put_at(image, IMAGE_DESCRIPTORS + i * 20, 4, descriptors[i][0]);
		put_at(image, IMAGE_DESCRIPTORS + i * 20 + 12, 4, descriptors[i][1]);
		put_at(image, IMAGE_DESCRIPTORS + i * 20 + 16, 4, descriptors[i][2]);
	}
	put_at(image, IMAGE_NAMES_STORPORT, width, IMAGE_NAME_INITIALIZE);
	put_at(image, IMAGE_NAMES_STORPORT + width, width, IMAGE_NAME_NOTIFICATION);
	put_at(image, IMAGE_NAMES_NTOSKRNL, width, IMAGE_NAME_BUGCHECK);
	put_at(image, IMAGE_IAT_STORPORT, width, IMAGE_NAME_INITIALIZE);
	put_at(image, IMAGE_IAT_STORPORT + width, width, IMAGE_NAME_NOTIFICATION);
	put_at(image, IMAGE_IAT_NTOSKRNL, width, IMAGE_NAME_BUGCHECK);
	put_directory(image, IMAGE_DIRECTORY_ENTRY_IMPORT, IMAGE_DESCRIPTORS, 60);
}

static void build_debug_and_cookie(struct image *image)
{
	unsigned width = image->wide ? 8 : 4;
	uint64_t base = image->wide ? IMAGE_BASE_X64 : IMAGE_BASE_X86;

	put_at(image, IMAGE_DEBUG + 12, 4, IMAGE_DEBUG_TYPE_CODEVIEW);
	put_at(image, IMAGE_DEBUG + 16, 4, 24 + sizeof("tiny.pdb"));
	put_at(image, IMAGE_DEBUG + 20, 4, IMAGE_RSDS);
	put_at(image, IMAGE_DEBUG + 24, 4, IMAGE_OFFSET(IMAGE_RSDS));
	put_string(image, IMAGE_RSDS, "RSDS");
	put_string(image, IMAGE_RSDS + 24, "tiny.pdb");
	put_directory(image, IMAGE_DIRECTORY_ENTRY_DEBUG, IMAGE_DEBUG, 28);

	put_at(image, IMAGE_LOAD_CONFIG, 4, image->wide ? 0x60 : 0x40);
	put_at(image, IMAGE_LOAD_CONFIG + (image->wide ? 0x58 : 0x3c), width, base + IMAGE_COOKIE);
	put_directory(image, IMAGE_DIRECTORY_ENTRY_LOAD_CONFIG, IMAGE_LOAD_CONFIG, image->wide ? 0x60 : 0x40);
	put_at(image, IMAGE_COOKIE, width, image->wide ? UINT64_C(0x2b992ddfa232) : 0xbb40e64e);
	put_at(image, IMAGE_POINTER, width, base + IMAGE_POINTER_TARGET);
}

/* A node of the version tree that begins at rva; returns where its children begin. */
static uint32_t put_node(struct image *image, uint32_t rva, uint32_t size, const char *key, const char *value)
{
	uint32_t p = rva + 6;

	put_at(image, rva, 2, size);
	put_at(image, rva + 2, 2, value ? strlen(value) + 1 : 0);
	put_at(image, rva + 4, 2, 1);
	for (; *key; key++, p += 2)
		put_at(image, p, 2, (unsigned char)*key);
	p = (p + 2 + 3) & ~3u;
	for (; value && *value; value++, p += 2)
		put_at(image, p, 2, (unsigned char)*value);
	return p;
}

static void build_resources(struct image *image)
{
	uint32_t end = 0x2400, p;

	/* Three directories of one entry each: type 16, name 1, language 1033. */
	for (unsigned level = 0; level < 3; level++) {
		static const uint32_t ids[] = { RT_VERSION, 1, 1033 };
		uint32_t directory = IMAGE_RESOURCES + level * 0x18;

		put_at(image, directory + 14, 2, 1);
		put_at(image, directory + 16, 4, ids[level]);
		put_at(image, directory + 20, 4, level < 2 ? 0x80000000u | (level + 1) * 0x18 : 0x48);
	}
	put_at(image, IMAGE_RESOURCES + 0x48, 4, IMAGE_VERSION);
	put_at(image, IMAGE_RESOURCES + 0x4c, 4, end - IMAGE_VERSION);
	p = put_node(image, IMAGE_VERSION, end - IMAGE_VERSION, "VS_VERSION_INFO", NULL);
	p = put_node(image, p, end - p, "StringFileInfo", NULL);
	p = put_node(image, p, end - p, "040904b0", NULL);
	put_node(image, p, 0x38, "FileVersion", "6.1.7601.0");
	put_node(image, p + 0x38, 0x40, "ProductName", "Tiny driver");
	put_directory(image, IMAGE_DIRECTORY_ENTRY_RESOURCE, IMAGE_RESOURCES, end - IMAGE_RESOURCES);
}

static uint32_t put_block(struct image *image, uint32_t p, uint32_t page, unsigned first, unsigned second)
{
	put_at(image, p, 4, page);
	put_at(image, p + 4, 4, 12);
	put_at(image, p + 8, 2, first);
	put_at(image, p + 10, 2, second);
	return p + 12;
}

static void build_relocations(struct image *image)
{
	unsigned type = (image->wide ? IMAGE_REL_BASED_DIR64 : IMAGE_REL_BASED_HIGHLOW) << 12;
	uint32_t p = put_block(image, IMAGE_RELOC, 0x3000, type | (IMAGE_POINTER & 0xfff), 0);

	if (!image->wide)
		p = put_block(image, p, 0x1000, type | 0x001, type | 0x022);
	put_directory(image, IMAGE_DIRECTORY_ENTRY_BASERELOC, IMAGE_RELOC, p - IMAGE_RELOC);
}

void image_sign_off(struct image *image)
{
	uint64_t sum = 0;

	image_put(image, IMAGE_OPTIONAL + 64, 4, 0);
	for (size_t i = 0; i < sizeof(image->bytes); i += 2)
		sum += image->bytes[i] | (unsigned)image->bytes[i + 1] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	image_put(image, IMAGE_OPTIONAL + 64, 4, sum + sizeof(image->bytes));
}

void image_build(struct image *image, bool wide)
{
	memset(image, 0, sizeof(*image));
	image->wide = wide;
	build_headers(image);
	build_code(image);
	build_imports(image);
	build_debug_and_cookie(image);
	build_resources(image);
	build_relocations(image);
	image_sign_off(image);
}
