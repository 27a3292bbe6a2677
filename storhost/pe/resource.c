/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The version resource and its strings. [PE/COFF 6.9, VS_VERSIONINFO] */
#include <string.h>

#include "pe/file.h"

#define DIRECTORY_SIZE 16
#define ENTRY_SIZE 8
#define SUBDIRECTORY 0x80000000u

/*
 * Finds the entry with this number, or the first one if id is negative, in the directory at `offset` of the resource
 * section. Returns 1 and what it points to, 0 if there is none, -1 if the directory exceeds the section.
 */
static int find_entry(const uint8_t *root, uint32_t size, uint32_t offset, int id, uint32_t *target)
{
	uint32_t count;

	if (offset > size || size - offset < DIRECTORY_SIZE)
		return -1;
	count = pe_u16(root + offset + 12) + (uint32_t)pe_u16(root + offset + 14);
	if (count > (size - offset - DIRECTORY_SIZE) / ENTRY_SIZE)
		return -1;
	for (uint32_t i = 0; i < count; i++) {
		const uint8_t *entry = root + offset + DIRECTORY_SIZE + i * ENTRY_SIZE;

		if (id < 0 || pe_u32(entry) == (uint32_t)id) {
			*target = pe_u32(entry + 4);
			return 1;
		}
	}
	return 0;
}

int pe_read_version(struct pe_file *file, struct error *err)
{
	struct pe_range directory = file->directories[IMAGE_DIRECTORY_ENTRY_RESOURCE];
	const int path[] = { RT_VERSION, -1, -1 }; /* type, name, language */
	uint32_t target = SUBDIRECTORY;
	const uint8_t *root;

	if (!directory.size)
		return 0;
	root = pe_bytes_at_rva(file, directory.rva, directory.size);
	if (!root)
		return error_set(err, "the resources lie outside the image");
	for (size_t level = 0; level < sizeof(path) / sizeof(path[0]); level++) {
		int found = -1;

		if (target & SUBDIRECTORY)
			found = find_entry(root, directory.size, target & ~SUBDIRECTORY, path[level], &target);
		if (found < 0)
			return error_set(err, "the resource directory is damaged");
		if (!found)
			return 0;
	}
	if ((target & SUBDIRECTORY) || target > directory.size || directory.size - target < 16)
		return error_set(err, "the resource directory is damaged");
	file->version_size = pe_u32(root + target + 4);
	file->version = pe_bytes_at_rva(file, pe_u32(root + target), file->version_size);
	if (!file->version)
		return error_set(err, "the version resource lies outside the image");
	return 0;
}

/* One node of the version tree: a length, a UTF-16 key, a value and children, each aligned to 4 bytes. */
struct node {
	const uint8_t *start, *key, *value, *children, *end;
	size_t key_units, value_size;
};

static const uint8_t *align_in(const uint8_t *start, const uint8_t *p, const uint8_t *end)
{
	p = start + pe_align((uint64_t)(p - start), 4);
	return p < end ? p : end;
}

/* Reads the node at p of a resource that begins at `start`; false where there is no whole node. */
static bool read_node(const uint8_t *start, const uint8_t *p, const uint8_t *limit, struct node *node)
{
	size_t length;

	if (limit - p < 6)
		return false;
	length = pe_u16(p);
	if (length < 6 || length > (size_t)(limit - p))
		return false;
	node->start = p;
	node->end = p + length;
	node->key = p + 6;
	for (p += 6;; p += 2) {
		if (node->end - p < 2)
			return false;
		if (!pe_u16(p))
			break;
	}
	node->key_units = (size_t)(p - node->key) / 2;
	node->value = align_in(start, p + 2, node->end);
	/* The value's length counts bytes in a binary value and UTF-16 units in a text. */
	node->value_size = pe_u16(node->start + 2) * (pe_u16(node->start + 4) == 1 ? 2u : 1u);
	if (node->value_size > (size_t)(node->end - node->value))
		node->value_size = (size_t)(node->end - node->value);
	node->children = align_in(start, node->value + node->value_size, node->end);
	return true;
}

static bool key_is(const struct node *node, const char *key)
{
	if (node->key_units != strlen(key))
		return false;
	for (size_t i = 0; i < node->key_units; i++)
		if (pe_u16(node->key + i * 2) != (unsigned char)key[i])
			return false;
	return true;
}

/* key NULL: the first child. */
static bool find_child(const uint8_t *start, const struct node *parent, const char *key, struct node *child)
{
	const uint8_t *p = parent->children;

	while (read_node(start, p, parent->end, child)) {
		if (!key || key_is(child, key))
			return true;
		p = align_in(start, child->end, parent->end);
	}
	return false;
}

static size_t put_utf8(uint32_t c, char *out)
{
	static const unsigned char lead[] = { 0, 0, 0xc0, 0xe0, 0xf0 };
	size_t length = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;

	for (size_t i = length; i-- > 1; c >>= 6)
		out[i] = (char)(0x80 | (c & 0x3f));
	out[0] = (char)(length == 1 ? c : lead[length] | c);
	return length;
}

/* Stops at a NUL or where buf is full; what is no UTF-16 becomes U+FFFD. */
static void copy_utf16(const uint8_t *p, size_t size, char *buf, size_t room)
{
	size_t used = 0;

	for (size_t i = 0; i + 2 <= size && pe_u16(p + i); i += 2) {
		uint32_t c = pe_u16(p + i), low = i + 4 <= size ? pe_u16(p + i + 2) : 0;
		char bytes[4];
		size_t length;

		if (c >= 0xd800 && c < 0xdc00 && low >= 0xdc00 && low < 0xe000) {
			c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
			i += 2;
		} else if (c >= 0xd800 && c < 0xe000) {
			c = 0xfffd;
		}
		length = put_utf8(c, bytes);
		if (used + length >= room)
			break;
		memcpy(buf + used, bytes, length);
		used += length;
	}
	if (room)
		buf[used] = '\0';
}

bool pe_version_string(const struct pe_file *file, const char *key, char *buf, size_t size)
{
	const uint8_t *start = file->version;
	struct node root, info, table, string;

	if (!start || !read_node(start, start, start + file->version_size, &root) ||
	    !find_child(start, &root, "StringFileInfo", &info) || !find_child(start, &info, NULL, &table) ||
	    !find_child(start, &table, key, &string))
		return false;
	copy_utf16(string.value, string.value_size, buf, size);
	return true;
}

uint32_t pe_version_flags(const struct pe_file *file)
{
	const uint8_t *start = file->version;
	struct node root;

	/* VS_FIXEDFILEINFO: dwFileFlagsMask at 24, dwFileFlags at 28 */
	if (!start || !read_node(start, start, start + file->version_size, &root) || root.value_size < 32 ||
	    pe_u32(root.value) != 0xfeef04bdu)
		return 0;
	return pe_u32(root.value + 28) & pe_u32(root.value + 24);
}
