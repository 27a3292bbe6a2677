/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * ntfs-nbd: files into and out of an NTFS volume behind a network block device, without a mount.
 *
 *   ntfs-nbd put URI DIRECTORY   copies what is in DIRECTORY to the root of the volume
 *   ntfs-nbd sum URI             prints "SHA256  path" for every file of the volume, sorted by path
 *
 * libntfs-3g is the file system, libnbd the disk below it. Exit status: 0 done, 1 failed, 2 wrong usage; a failure is
 * one sentence, and ends the process where it is found.
 */
#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <libnbd.h>
#include <linux/fs.h>
#include <openssl/evp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <ntfs-3g/attrib.h>
#include <ntfs-3g/device.h>
#include <ntfs-3g/dir.h>
#include <ntfs-3g/inode.h>
#include <ntfs-3g/logging.h>
#include <ntfs-3g/unistr.h>
#include <ntfs-3g/volume.h>

#define PIECE 65536u         /* bytes of one NBD request: what Windows' cache manager writes at a time */
#define PIECES_IN_FLIGHT 32u /* per transfer; the server has 64 threads per connection */
#define BUFFER (1u << 20)    /* bytes of a file read or written at a time */
#define NAME_MAX_NTFS 255    /* UTF-16 units */

/* The first thing that went wrong below: the cause of whatever fails above it. */
static char complaint[512];

static void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void die(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

static void complain(const char *format, ...)
{
	va_list arguments;

	if (complaint[0])
		return;
	va_start(arguments, format);
	vsnprintf(complaint, sizeof(complaint), format, arguments);
	va_end(arguments);
}

/* What was being done, and why it failed: the first complaint, or else errno. */
static void die(const char *format, ...)
{
	const char *cause = complaint[0] ? complaint : strerror(errno);
	va_list arguments;

	fputs("ntfs-nbd: ", stderr);
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fprintf(stderr, ": %s\n", cause);
	exit(1);
}

static int log_ntfs(const char *function, const char *file, int line, u32 level, void *data, const char *format,
		    va_list arguments)
{
	char text[sizeof(complaint)];

	(void)function;
	(void)file;
	(void)line;
	(void)data;
	if (level & (NTFS_LOG_LEVEL_ERROR | NTFS_LOG_LEVEL_PERROR | NTFS_LOG_LEVEL_CRITICAL)) {
		vsnprintf(text, sizeof(text), format, arguments);
		text[strcspn(text, "\n")] = '\0';
		if (level & NTFS_LOG_LEVEL_PERROR)
			complain("%s: %s", text, strerror(errno));
		else
			complain("%s", text);
	}
	return 0;
}

/* ---- the device below libntfs-3g ---- */

struct nbd_disk {
	struct nbd_handle *nbd;
	uint64_t size;
	uint32_t block; /* bytes; the export takes only whole ones */
	uint64_t position;
	unsigned in_flight;
	int error; /* errno of the first request of a transfer that failed */
};

static int fail_nbd(const char *what)
{
	int error = nbd_get_errno();

	complain("%s: %s", what, nbd_get_error());
	errno = error ? error : EIO;
	return -1;
}

static int piece_completed(void *user_data, int *error)
{
	struct nbd_disk *disk = user_data;

	disk->in_flight--;
	if (*error && !disk->error)
		disk->error = *error;
	return 1; /* libnbd may forget the request */
}

static int wait_until_in_flight(struct nbd_disk *disk, unsigned most)
{
	while (disk->in_flight > most) {
		if (nbd_poll(disk->nbd, -1) < 0)
			return fail_nbd("waiting for the server");
	}
	return 0;
}

/* Whole blocks; as many requests as fit are outstanding at a time. */
static int transfer(struct nbd_disk *disk, bool write, char *data, uint64_t count, uint64_t offset)
{
	nbd_completion_callback completed = { .callback = piece_completed, .user_data = disk };
	int64_t cookie;

	disk->error = 0;
	for (uint64_t done = 0, length; done < count && !disk->error; done += length) {
		length = count - done < PIECE ? count - done : PIECE;
		if (wait_until_in_flight(disk, PIECES_IN_FLIGHT - 1))
			return -1;
		disk->in_flight++;
		cookie = write ? nbd_aio_pwrite(disk->nbd, data + done, length, offset + done, completed, 0)
			       : nbd_aio_pread(disk->nbd, data + done, length, offset + done, completed, 0);
		if (cookie < 0) {
			disk->in_flight--;
			return fail_nbd(write ? "write" : "read");
		}
	}
	if (wait_until_in_flight(disk, 0))
		return -1;
	if (!disk->error)
		return 0;
	complain("%s of %llu bytes at %llu: %s", write ? "write" : "read", (unsigned long long)count,
		 (unsigned long long)offset, strerror(disk->error));
	errno = disk->error;
	return -1;
}

/* The whole blocks around a range of bytes. */
struct span {
	uint64_t start, length;
	size_t lead; /* bytes before the range */
};

static struct span span_around(const struct nbd_disk *disk, uint64_t count, uint64_t offset)
{
	struct span span = { .lead = offset % disk->block };

	span.start = offset - span.lead;
	span.length = (span.lead + count + disk->block - 1) / disk->block * disk->block;
	return span;
}

static s64 device_pread(struct ntfs_device *device, void *buf, s64 count, s64 offset)
{
	struct nbd_disk *disk = device->d_private;
	struct span span = span_around(disk, (uint64_t)count, (uint64_t)offset);
	char *blocks;
	int failed;

	if (span.length == (uint64_t)count)
		return transfer(disk, false, buf, span.length, span.start) ? -1 : count;
	blocks = malloc(span.length);
	if (!blocks)
		return -1;
	failed = transfer(disk, false, blocks, span.length, span.start);
	if (!failed)
		memcpy(buf, blocks + span.lead, (size_t)count);
	free(blocks);
	return failed ? -1 : count;
}

static s64 device_pwrite(struct ntfs_device *device, const void *buf, s64 count, s64 offset)
{
	struct nbd_disk *disk = device->d_private;
	struct span span = span_around(disk, (uint64_t)count, (uint64_t)offset);
	uint64_t last = span.length - disk->block;
	char *blocks;
	int failed;

	if (NDevReadOnly(device)) {
		errno = EROFS;
		return -1;
	}
	NDevSetDirty(device);
	if (span.length == (uint64_t)count)
		return transfer(disk, true, (char *)(uintptr_t)buf, span.length, span.start) ? -1 : count;
	blocks = malloc(span.length);
	if (!blocks)
		return -1;
	/* What the first and the last block hold around the range stays. */
	failed = transfer(disk, false, blocks, disk->block, span.start) ||
		 (last && transfer(disk, false, blocks + last, disk->block, span.start + last));
	if (!failed) {
		memcpy(blocks + span.lead, buf, (size_t)count);
		failed = transfer(disk, true, blocks, span.length, span.start);
	}
	free(blocks);
	return failed ? -1 : count;
}

static s64 device_read(struct ntfs_device *device, void *buf, s64 count)
{
	struct nbd_disk *disk = device->d_private;
	s64 got = device_pread(device, buf, count, (s64)disk->position);

	disk->position += got > 0 ? (uint64_t)got : 0;
	return got;
}

static s64 device_write(struct ntfs_device *device, const void *buf, s64 count)
{
	struct nbd_disk *disk = device->d_private;
	s64 put = device_pwrite(device, buf, count, (s64)disk->position);

	disk->position += put > 0 ? (uint64_t)put : 0;
	return put;
}

static s64 device_seek(struct ntfs_device *device, s64 offset, int whence)
{
	struct nbd_disk *disk = device->d_private;
	s64 base = whence == SEEK_SET ? 0 : (s64)(whence == SEEK_CUR ? disk->position : disk->size);

	if (offset < -base || base + offset > (s64)disk->size) {
		errno = EINVAL;
		return -1;
	}
	disk->position = (uint64_t)(base + offset);
	return base + offset;
}

static int device_open(struct ntfs_device *device, int flags)
{
	struct nbd_disk *disk = device->d_private;

	if ((flags & O_ACCMODE) == O_RDONLY) {
		NDevSetReadOnly(device);
	} else if (nbd_is_read_only(disk->nbd)) {
		complain("the server does not allow writing");
		errno = EROFS;
		return -1;
	}
	NDevSetOpen(device);
	return 0;
}

static int device_sync(struct ntfs_device *device)
{
	struct nbd_disk *disk = device->d_private;

	if (!NDevDirty(device))
		return 0;
	if (nbd_flush(disk->nbd, 0))
		return fail_nbd("flush");
	NDevClearDirty(device);
	return 0;
}

static int device_close(struct ntfs_device *device)
{
	NDevClearOpen(device);
	return device_sync(device);
}

static int device_stat(struct ntfs_device *device, struct stat *buf)
{
	const struct nbd_disk *disk = device->d_private;

	memset(buf, 0, sizeof(*buf));
	buf->st_mode = S_IFBLK | 0600;
	buf->st_size = (off_t)disk->size;
	return 0;
}

static int device_ioctl(struct ntfs_device *device, unsigned long request, void *argument)
{
	const struct nbd_disk *disk = device->d_private;

	switch (request) {
	case BLKGETSIZE64:
		*(uint64_t *)argument = disk->size;
		return 0;
	case BLKSSZGET:
		*(int *)argument = (int)disk->block;
		return 0;
	}
	errno = EOPNOTSUPP;
	return -1;
}

static struct ntfs_device_operations device_operations = {
	.open = device_open,
	.close = device_close,
	.seek = device_seek,
	.read = device_read,
	.write = device_write,
	.pread = device_pread,
	.pwrite = device_pwrite,
	.sync = device_sync,
	.stat = device_stat,
	.ioctl = device_ioctl,
};

static void disk_connect(struct nbd_disk *disk, const char *uri)
{
	int64_t size, block;

	disk->nbd = nbd_create();
	if (!disk->nbd || nbd_connect_uri(disk->nbd, uri)) {
		fail_nbd("cannot connect");
		die("%s", uri);
	}
	size = nbd_get_size(disk->nbd);
	block = nbd_get_block_size(disk->nbd, LIBNBD_SIZE_MINIMUM);
	if (size < 0 || block < 0) {
		fail_nbd("cannot tell its size");
		die("%s", uri);
	}
	disk->size = (uint64_t)size;
	disk->block = block ? (uint32_t)block : 1;
}

static void disk_disconnect(struct nbd_disk *disk, const char *uri)
{
	if (nbd_shutdown(disk->nbd, 0)) {
		fail_nbd("cannot disconnect");
		die("%s", uri);
	}
	nbd_close(disk->nbd);
}

/* ---- put ---- */

struct count {
	unsigned long long files, bytes;
};

static ntfs_inode *create(ntfs_inode *parent, const FTSENT *entry, mode_t type)
{
	ntfschar *name = NULL;
	int length = ntfs_mbstoucs(entry->fts_name, &name);
	ntfs_inode *inode;

	if (length < 0)
		die("%s", entry->fts_path);
	if (length > NAME_MAX_NTFS || ntfs_forbidden_names(parent->vol, name, length, TRUE)) {
		complain("NTFS cannot have this name");
		die("%s", entry->fts_path);
	}
	inode = ntfs_create(parent, const_cpu_to_le32(0), name, (u8)length, type);
	if (!inode)
		die("cannot create %s", entry->fts_path);
	free(name);
	return inode;
}

static unsigned long long write_file(ntfs_inode *inode, const char *path)
{
	static char buffer[BUFFER];
	ntfs_attr *data = ntfs_attr_open(inode, AT_DATA, AT_UNNAMED, 0);
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	s64 position = 0;
	ssize_t got;

	if (fd < 0)
		die("cannot read %s", path);
	if (!data)
		die("cannot write %s", path);
	while ((got = read(fd, buffer, sizeof(buffer))) > 0) {
		if (ntfs_attr_pwrite(data, position, got, buffer) != got)
			die("cannot write %s", path);
		position += got;
	}
	if (got < 0)
		die("cannot read %s", path);
	close(fd);
	ntfs_attr_close(data);
	return (unsigned long long)position;
}

/* fts_pointer of an open directory is its inode. */
static void put_entry(ntfs_volume *volume, FTSENT *entry, struct count *count)
{
	ntfs_inode *parent = entry->fts_level > FTS_ROOTLEVEL ? entry->fts_parent->fts_pointer : NULL;
	ntfs_inode *inode;

	switch (entry->fts_info) {
	case FTS_D:
		entry->fts_pointer = parent ? create(parent, entry, S_IFDIR) : ntfs_inode_open(volume, FILE_root);
		if (!entry->fts_pointer)
			die("cannot open the root directory of the volume");
		break;
	case FTS_DP:
		/* Through the parent at hand: libntfs-3g must not open an inode twice. */
		inode = entry->fts_pointer;
		if (parent ? ntfs_inode_close_in_dir(inode, parent) : ntfs_inode_close(inode))
			die("cannot close %s", entry->fts_path);
		break;
	case FTS_F:
		if (!parent) {
			errno = ENOTDIR;
			die("%s", entry->fts_path);
		}
		inode = create(parent, entry, S_IFREG);
		count->bytes += write_file(inode, entry->fts_accpath);
		count->files++;
		if (ntfs_inode_close_in_dir(inode, parent))
			die("cannot close %s", entry->fts_path);
		break;
	case FTS_DNR:
	case FTS_ERR:
	case FTS_NS:
		errno = entry->fts_errno;
		die("%s", entry->fts_path);
	default:
		complain("neither a file nor a directory");
		die("%s", entry->fts_path);
	}
}

static int compare_names(const FTSENT **a, const FTSENT **b)
{
	return strcmp((*a)->fts_name, (*b)->fts_name);
}

static void put(ntfs_volume *volume, char *directory)
{
	char *roots[] = { directory, NULL };
	FTS *fts = fts_open(roots, FTS_PHYSICAL | FTS_COMFOLLOW | FTS_NOCHDIR, compare_names);
	struct count count = { 0 };
	FTSENT *entry;

	if (!fts)
		die("%s", directory);
	while ((entry = fts_read(fts)) != NULL)
		put_entry(volume, entry, &count);
	if (errno)
		die("%s", directory);
	fts_close(fts);
	printf("%llu files, %llu bytes\n", count.files, count.bytes);
}

/* ---- sum ---- */

struct name {
	char *path; /* from the root; "" is the root */
	MFT_REF reference;
	bool directory;
};

struct listing {
	struct name *names;
	size_t count, room;
	const char *path; /* of the directory being read */
};

static void add_name(struct listing *listing, char *path, MFT_REF reference, bool directory)
{
	if (listing->count == listing->room) {
		listing->room = listing->room ? 2 * listing->room : 1024;
		listing->names = reallocarray(listing->names, listing->room, sizeof(*listing->names));
		if (!listing->names)
			die("cannot list the volume");
	}
	listing->names[listing->count++] = (struct name){ path, reference, directory };
}

/* An ntfs_filldir_t. */
static int fill_listing(void *context, const ntfschar *name, const int length, const int name_type, const s64 position,
			const MFT_REF reference, const unsigned type)
{
	struct listing *listing = context;
	char *text = NULL, *path;

	(void)position;
	if (name_type == FILE_NAME_DOS || MREF(reference) < FILE_first_user)
		return 0;
	if (ntfs_ucstombs(name, length, &text, 0) < 0)
		die("a name in /%s", listing->path);
	if (strcmp(text, ".") && strcmp(text, "..")) {
		if (strchr(text, '\n')) {
			complain("a name with a line break cannot be listed");
			die("/%s", listing->path);
		}
		if (asprintf(&path, "%s%s%s", listing->path, *listing->path ? "/" : "", text) < 0)
			die("cannot list the volume");
		add_name(listing, path, reference, type == NTFS_DT_DIR);
	}
	free(text);
	return 0;
}

static void read_directory(ntfs_volume *volume, struct listing *listing, const struct name *name)
{
	ntfs_inode *inode = ntfs_inode_open(volume, name->reference);
	s64 position = 0;

	listing->path = name->path;
	if (!inode || ntfs_readdir(inode, &position, listing, fill_listing))
		die("cannot read directory /%s", listing->path);
	if (ntfs_inode_close(inode))
		die("cannot close /%s", listing->path);
}

/* The list grows behind the directory being read. In a damaged volume directories may go in circles. */
static void list_volume(ntfs_volume *volume, struct listing *listing)
{
	uint64_t records = (uint64_t)volume->mft_na->initialized_size >> volume->mft_record_size_bits;
	bool *seen = calloc(records, sizeof(*seen));
	struct name name;
	uint64_t record;

	if (!seen)
		die("cannot list the volume");
	add_name(listing, strdup(""), FILE_root, true);
	for (size_t i = 0; i < listing->count; i++) {
		name = listing->names[i];
		record = MREF(name.reference);
		if (!name.directory)
			continue;
		if (record >= records || seen[record]) {
			complain("the file system is damaged: no such directory, or one with two parents");
			die("/%s", name.path);
		}
		seen[record] = true;
		read_directory(volume, listing, &name);
	}
	free(seen);
}

static int compare_paths(const void *a, const void *b)
{
	return strcmp(((const struct name *)a)->path, ((const struct name *)b)->path);
}

static void sum_file(ntfs_volume *volume, EVP_MD_CTX *hash, const struct name *name)
{
	static char buffer[BUFFER];
	unsigned char digest[EVP_MAX_MD_SIZE];
	ntfs_inode *inode = ntfs_inode_open(volume, name->reference);
	ntfs_attr *data = inode ? ntfs_attr_open(inode, AT_DATA, AT_UNNAMED, 0) : NULL;
	s64 position = 0, got;
	unsigned length = 0;

	if (!data || !EVP_DigestInit_ex(hash, EVP_sha256(), NULL))
		die("cannot open /%s", name->path);
	while ((got = ntfs_attr_pread(data, position, sizeof(buffer), buffer)) > 0) {
		EVP_DigestUpdate(hash, buffer, (size_t)got);
		position += got;
	}
	if (got < 0 || position != data->data_size)
		die("cannot read /%s", name->path);
	ntfs_attr_close(data);
	if (ntfs_inode_close(inode))
		die("cannot close /%s", name->path);
	EVP_DigestFinal_ex(hash, digest, &length);
	for (unsigned i = 0; i < length; i++)
		printf("%02x", digest[i]);
	printf("  %s\n", name->path);
}

static void sum(ntfs_volume *volume)
{
	EVP_MD_CTX *hash = EVP_MD_CTX_new();
	struct listing listing = { 0 };

	if (!hash)
		die("cannot compute SHA-256");
	list_volume(volume, &listing);
	qsort(listing.names, listing.count, sizeof(*listing.names), compare_paths);
	for (size_t i = 0; i < listing.count; i++) {
		if (!listing.names[i].directory)
			sum_file(volume, hash, &listing.names[i]);
		free(listing.names[i].path);
	}
	free(listing.names);
	EVP_MD_CTX_free(hash);
}

int main(int argc, char **argv)
{
	bool writing = argc == 4 && !strcmp(argv[1], "put");
	struct nbd_disk disk = { 0 };
	struct ntfs_device *device;
	ntfs_volume *volume;

	if (!writing && !(argc == 3 && !strcmp(argv[1], "sum"))) {
		fputs("usage: ntfs-nbd put URI DIRECTORY | ntfs-nbd sum URI\n", stderr);
		return 2;
	}
	ntfs_log_set_handler(log_ntfs);
	disk_connect(&disk, argv[2]);
	device = ntfs_device_alloc(argv[2], 0, &device_operations, &disk);
	volume = device ? ntfs_device_mount(device, writing ? NTFS_MNT_NONE : NTFS_MNT_RDONLY) : NULL;
	if (!volume)
		die("%s: no NTFS volume that could be opened", argv[2]);
	if (writing)
		put(volume, argv[3]);
	else
		sum(volume);
	if (ntfs_umount(volume, FALSE))
		die("%s: cannot close the volume", argv[2]);
	disk_disconnect(&disk, argv[2]);
	if (fflush(stdout))
		die("standard output");
	/* Damage that libntfs-3g met and read around. */
	if (complaint[0])
		die("%s", argv[2]);
	return 0;
}
