/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Opening an image: its headers and section table, and bounded access to what they describe. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pe/file.h"

#define DOS_HEADER_SIZE 64
#define DOS_LFANEW 60
#define FILE_HEADER_SIZE 24 /* with the PE signature */
#define CHECKSUM_OFFSET (FILE_HEADER_SIZE + 64)
#define SECTION_HEADER_SIZE 40
#define FILE_SIZE_MAX (256u << 20)
/* Windows 7 refuses more. [PE/COFF 2.2 NumberOfSections] */
#define SECTIONS_MAX 96

uint32_t pe_section_data_size(const struct pe_file *file, const struct pe_section *section)
{
	uint64_t extent = pe_align(pe_section_extent(section), file->headers.section_alignment);

	return section->raw_size < extent ? section->raw_size : (uint32_t)extent;
}

const uint8_t *pe_bytes_at_offset(const struct pe_file *file, uint64_t offset, uint64_t size)
{
	if (offset > file->size || size > file->size - offset)
		return NULL;
	return file->bytes + offset;
}

/* The mapped file bytes from rva on, and how many there are. */
static const uint8_t *bytes_from_rva(const struct pe_file *file, uint64_t rva, uint64_t *available)
{
	if (rva < file->headers_size) {
		*available = file->headers_size - rva;
		return file->bytes + rva;
	}
	for (size_t i = 0; i < file->section_count; i++) {
		const struct pe_section *section = &file->sections[i];
		uint32_t size = pe_section_data_size(file, section);

		if (rva >= section->rva && rva - section->rva < size) {
			*available = size - (rva - section->rva);
			return file->bytes + file->raw_offsets[i] + (rva - section->rva);
		}
	}
	return NULL;
}

const uint8_t *pe_bytes_at_rva(const struct pe_file *file, uint64_t rva, uint64_t size)
{
	uint64_t available;
	const uint8_t *bytes = bytes_from_rva(file, rva, &available);

	return bytes && size <= available ? bytes : NULL;
}

const char *pe_string_at_rva(const struct pe_file *file, uint64_t rva)
{
	uint64_t available;
	const uint8_t *bytes = bytes_from_rva(file, rva, &available);

	if (!bytes || !bytes[0])
		return NULL;
	for (uint64_t i = 0; i < available; i++) {
		if (!bytes[i])
			return (const char *)bytes;
		if (bytes[i] < 0x20 || bytes[i] > 0x7e)
			return NULL;
	}
	return NULL;
}

const struct pe_section *pe_section_at_rva(const struct pe_file *file, uint64_t rva, uint64_t size)
{
	for (size_t i = 0; i < file->section_count; i++) {
		const struct pe_section *section = &file->sections[i];
		uint32_t extent = pe_section_extent(section);

		if (rva >= section->rva && rva - section->rva <= extent && size <= extent - (rva - section->rva))
			return section;
	}
	return NULL;
}

/* The sum that ImageHlp's CheckSumMappedFile computes: 16-bit words with end-around carry, plus the file's size. */
static uint32_t compute_checksum(const struct pe_file *file, size_t field)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < file->size; i += 2) {
		uint32_t word = file->bytes[i] | (i + 1 < file->size ? (uint32_t)file->bytes[i + 1] << 8 : 0);

		if (i == field || i == field + 2)
			continue;
		sum += word;
		sum = (sum & 0xffff) + (sum >> 16);
	}
	return sum + (uint32_t)file->size;
}

static int read_file_header(struct pe_file *file, uint32_t *pe_offset, struct error *err)
{
	const uint8_t *dos = pe_bytes_at_offset(file, 0, DOS_HEADER_SIZE);
	const uint8_t *p;

	if (!dos || dos[0] != 'M' || dos[1] != 'Z')
		return error_set(err, "not a Windows image: it does not begin with an MZ header");
	*pe_offset = pe_u32(dos + DOS_LFANEW);
	if (*pe_offset % 4)
		return error_set(err, "the PE header's offset 0x%x is not a multiple of 4", *pe_offset);
	p = pe_bytes_at_offset(file, *pe_offset, FILE_HEADER_SIZE);
	if (!p)
		return error_set(err, "the PE header lies outside the file");
	if (memcmp(p, "PE\0", 4))
		return error_set(err, "not a PE image: no PE signature at offset 0x%x", *pe_offset);
	if (pe_u16(p + 4) != PE_X86 && pe_u16(p + 4) != PE_X64)
		return error_set(err, "machine type 0x%04x is neither x86 nor x64", pe_u16(p + 4));
	file->headers.machine = (enum pe_machine)pe_u16(p + 4);
	file->section_count = pe_u16(p + 6);
	file->headers.timestamp = pe_u32(p + 8);
	file->headers.characteristics = pe_u16(p + 22);
	if (!(file->headers.characteristics & IMAGE_FILE_EXECUTABLE_IMAGE))
		return error_set(err, "the linker did not mark the image as executable");
	if (!file->section_count || file->section_count > SECTIONS_MAX)
		return error_set(err, "the image has %zu sections, not 1 to %d", file->section_count, SECTIONS_MAX);
	return 0;
}

static int check_sizes(const struct pe_file *file, struct error *err)
{
	const struct pe_headers *h = &file->headers;

	if (!h->file_alignment || (h->file_alignment & (h->file_alignment - 1)) || !h->section_alignment ||
	    (h->section_alignment & (h->section_alignment - 1)) || h->section_alignment < h->file_alignment)
		return error_set(
			err, "section alignment 0x%x and file alignment 0x%x are not an ordered pair of powers of two",
			h->section_alignment, h->file_alignment);
	if (!pe_bytes_at_offset(file, 0, file->headers_size))
		return error_set(err, "the size of the headers, 0x%x, exceeds the file", file->headers_size);
	if (h->image_size < file->headers_size)
		return error_set(err, "the image's size, 0x%x, is less than that of its headers", h->image_size);
	if (h->entry_rva >= h->image_size)
		return error_set(err, "the entry point 0x%x lies outside the image", h->entry_rva);
	return 0;
}

static void read_directories(struct pe_file *file, const uint8_t *p, uint32_t count)
{
	for (uint32_t i = 0; i < count && i < IMAGE_NUMBEROF_DIRECTORY_ENTRIES; i++) {
		file->directories[i].rva = pe_u32(p + i * 8);
		file->directories[i].size = pe_u32(p + i * 8 + 4);
	}
}

static int read_optional_header(struct pe_file *file, uint32_t pe_offset, struct error *err)
{
	struct pe_headers *h = &file->headers;
	bool wide = h->machine == PE_X64;
	uint16_t size = pe_u16(file->bytes + pe_offset + 20);
	uint32_t fixed = wide ? 112 : 96, count;
	const uint8_t *p = pe_bytes_at_offset(file, (uint64_t)pe_offset + FILE_HEADER_SIZE, size);

	if (!p || size < fixed)
		return error_set(err, "the optional header is truncated");
	if (pe_u16(p) != (wide ? IMAGE_NT_OPTIONAL_HDR64_MAGIC : IMAGE_NT_OPTIONAL_HDR32_MAGIC))
		return error_set(err, "optional header type 0x%03x does not suit the machine type", pe_u16(p));
	h->entry_rva = pe_u32(p + 16);
	h->image_base = wide ? pe_u64(p + 24) : pe_u32(p + 28);
	h->section_alignment = pe_u32(p + 32);
	h->file_alignment = pe_u32(p + 36);
	h->os_major = pe_u16(p + 40);
	h->os_minor = pe_u16(p + 42);
	h->subsystem_major = pe_u16(p + 48);
	h->subsystem_minor = pe_u16(p + 50);
	h->image_size = pe_u32(p + 56);
	file->headers_size = pe_u32(p + 60);
	h->checksum = pe_u32(p + 64);
	h->computed_checksum = compute_checksum(file, (size_t)pe_offset + CHECKSUM_OFFSET);
	h->subsystem = pe_u16(p + 68);
	h->dll_characteristics = pe_u16(p + 70);
	count = pe_u32(p + fixed - 4);
	if (count > (size - fixed) / 8u)
		return error_set(err, "the %u data directories do not fit the optional header", count);
	read_directories(file, p + fixed, count);
	return check_sizes(file, err);
}

static int check_section(const struct pe_file *file, size_t i, uint64_t *end, struct error *err)
{
	const struct pe_section *section = &file->sections[i];
	uint32_t alignment = file->headers.section_alignment;
	uint64_t size = pe_align(pe_section_extent(section), alignment);

	if (section->rva % alignment)
		return error_set(err, "section %zu is not aligned: its address is 0x%x", i + 1, section->rva);
	if (!size)
		return error_set(err, "section %zu is empty", i + 1);
	if (section->rva < *end)
		return error_set(err, "section %zu overlaps what precedes it or is out of order", i + 1);
	*end = section->rva + size;
	if (*end > pe_align(file->headers.image_size, alignment))
		return error_set(err, "section %zu exceeds the image's size", i + 1);
	if (section->raw_size && file->raw_offsets[i] % file->headers.file_alignment)
		return error_set(err, "the data of section %zu is not aligned in the file", i + 1);
	if (!pe_bytes_at_offset(file, file->raw_offsets[i], section->raw_size))
		return error_set(err, "the data of section %zu lies outside the file", i + 1);
	return 0;
}

static int read_sections(struct pe_file *file, uint32_t pe_offset, struct error *err)
{
	uint64_t offset = (uint64_t)pe_offset + FILE_HEADER_SIZE + pe_u16(file->bytes + pe_offset + 20);
	uint64_t size = file->section_count * SECTION_HEADER_SIZE;
	const uint8_t *p = pe_bytes_at_offset(file, offset, size);
	uint64_t end = file->headers_size;

	if (!p || offset + size > file->headers_size)
		return error_set(err, "the section table exceeds the headers");
	file->sections = calloc(file->section_count, sizeof(*file->sections));
	file->raw_offsets = calloc(file->section_count, sizeof(*file->raw_offsets));
	if (!file->sections || !file->raw_offsets)
		return error_set(err, "no memory for the section table");
	for (size_t i = 0; i < file->section_count; i++, p += SECTION_HEADER_SIZE) {
		struct pe_section *section = &file->sections[i];

		memcpy(section->name, p, 8);
		section->virtual_size = pe_u32(p + 8);
		section->rva = pe_u32(p + 12);
		section->raw_size = pe_u32(p + 16);
		file->raw_offsets[i] = section->raw_size ? pe_u32(p + 20) : 0;
		section->characteristics = pe_u32(p + 36);
		if (check_section(file, i, &end, err))
			return -1;
	}
	return 0;
}

static int read_everything(struct pe_file *file, struct error *err)
{
	uint32_t pe_offset = 0;

	if (read_file_header(file, &pe_offset, err) || read_optional_header(file, pe_offset, err) ||
	    read_sections(file, pe_offset, err) || pe_check_relocations(file, err) || pe_read_imports(file, err) ||
	    pe_read_debug(file, err) || pe_read_load_config(file, err) || pe_read_version(file, err))
		return -1;
	return 0;
}

/* Owns: bytes, from malloc, in every case. */
static int open_bytes(uint8_t *bytes, size_t size, struct pe_file **out, struct error *err)
{
	struct pe_file *file = calloc(1, sizeof(*file));

	if (!file) {
		free(bytes);
		return error_set(err, "no memory for the image");
	}
	file->bytes = bytes;
	file->size = size;
	file->headers.file_size = size;
	if (read_everything(file, err)) {
		pe_close(file);
		return -1;
	}
	*out = file;
	return 0;
}

int pe_open_memory(const void *bytes, size_t size, struct pe_file **out, struct error *err)
{
	uint8_t *copy;

	if (!size)
		return error_set(err, "the file is empty");
	if (size > FILE_SIZE_MAX)
		return error_set(err, "the file is larger than a driver can be");
	copy = malloc(size);
	if (!copy)
		return error_set(err, "no memory for %zu bytes", size);
	memcpy(copy, bytes, size);
	return open_bytes(copy, size, out, err);
}

static int read_all(int fd, uint8_t *bytes, size_t size, struct error *err)
{
	size_t done = 0;

	while (done < size) {
		ssize_t n = read(fd, bytes + done, size - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return error_set(err, "cannot be read: %s", strerror(errno));
		if (!n)
			return error_set(err, "became shorter while it was read");
		done += (size_t)n;
	}
	return 0;
}

static int read_fd(int fd, uint8_t **bytes, size_t *size, struct error *err)
{
	struct stat st;

	if (fstat(fd, &st))
		return error_set(err, "cannot be read: %s", strerror(errno));
	if (!S_ISREG(st.st_mode))
		return error_set(err, "not a regular file");
	if (!st.st_size)
		return error_set(err, "the file is empty");
	if (st.st_size > (off_t)FILE_SIZE_MAX)
		return error_set(err, "the file is larger than a driver can be");
	*size = (size_t)st.st_size;
	*bytes = malloc(*size);
	if (!*bytes)
		return error_set(err, "no memory for %zu bytes", *size);
	if (read_all(fd, *bytes, *size, err)) {
		free(*bytes);
		return -1;
	}
	return 0;
}

int pe_read_file(const char *path, uint8_t **bytes, size_t *size, struct error *err)
{
	/* O_NONBLOCK: opening a FIFO must not wait for a writer. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	int result;

	if (fd < 0)
		return error_set(err, "cannot be opened: %s", strerror(errno));
	result = read_fd(fd, bytes, size, err);
	close(fd);
	return result;
}

int pe_open(const char *path, struct pe_file **out, struct error *err)
{
	uint8_t *bytes;
	size_t size;

	return pe_read_file(path, &bytes, &size, err) ? -1 : open_bytes(bytes, size, out, err);
}

void pe_close(struct pe_file *file)
{
	if (!file)
		return;
	free(file->imports);
	free(file->raw_offsets);
	free(file->sections);
	free(file->bytes);
	free(file);
}

const struct pe_headers *pe_headers(const struct pe_file *file)
{
	return &file->headers;
}

const struct pe_section *pe_sections(const struct pe_file *file, size_t *count)
{
	*count = file->section_count;
	return file->sections;
}

const struct pe_import *pe_imports(const struct pe_file *file, size_t *count)
{
	*count = file->import_count;
	return file->imports;
}

const char *pe_pdb_path(const struct pe_file *file)
{
	return file->pdb_path;
}
