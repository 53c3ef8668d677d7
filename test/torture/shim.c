/*
 * shim.c
 *	  Loaded into a server before libc: a full disk and a clock that is set,
 *	  switched on and off through a mapped file while the server runs.
 *
 * QUEUE_SHIM names the file: a 64-bit offset of the wall clock in
 * microseconds, then one byte each for "no room for WAL" and "no room for
 * data".  Writes inside a file's length go on, as on a disk that is full.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

typedef struct Control
{
	int64_t		clock_usecs;
	uint8_t		wal_full;
	uint8_t		data_full;
} Control;

static volatile Control *control;

/* Maps the control file; without one nothing is changed */
__attribute__((constructor)) static void
attach(void)
{
	const char *path = getenv("QUEUE_SHIM");
	int			fd = path != NULL ? open(path, O_RDONLY) : -1;

	if (fd < 0)
		return;
	control = mmap(NULL, sizeof(Control), PROT_READ, MAP_SHARED, fd, 0);
	if (control == MAP_FAILED)
		control = NULL;
	close(fd);
}

/* Is there no room for bytes that end there? */
static int
full(int fd, off_t end)
{
	char		link[64];
	char		path[4096];
	struct stat st;
	ssize_t		length;
	int			wal;

	if (control == NULL || (!control->wal_full && !control->data_full))
		return 0;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	length = readlink(link, path, sizeof(path) - 1);
	if (length < 0)
		return 0;
	path[length] = '\0';
	wal = strstr(path, "/pg_wal/") != NULL;
	if (!(wal ? control->wal_full :
		  control->data_full && strstr(path, "/base/") != NULL))
		return 0;
	/* recycled WAL files are the room for WAL that there is */
	return wal || fstat(fd, &st) != 0 || end > st.st_size;
}

#define NEXT(name) \
	static __typeof__(&name) next; \
	if (next == NULL) \
		next = (__typeof__(&name)) dlsym(RTLD_NEXT, #name)

#define REFUSE_IF_FULL(fd, end) \
	if (full(fd, end)) \
	{ \
		errno = ENOSPC; \
		return -1; \
	}

ssize_t
write(int fd, const void *data, size_t size)
{
	NEXT(write);
	if (control != NULL && (control->wal_full || control->data_full))
		REFUSE_IF_FULL(fd, lseek(fd, 0, SEEK_CUR) + (off_t) size);
	return next(fd, data, size);
}

ssize_t
pwrite64(int fd, const void *data, size_t size, off64_t offset)
{
	NEXT(pwrite64);
	REFUSE_IF_FULL(fd, offset + (off_t) size);
	return next(fd, data, size, offset);
}

ssize_t
pwrite(int fd, const void *data, size_t size, off_t offset)
{
	return pwrite64(fd, data, size, offset);
}

ssize_t
pwritev64(int fd, const struct iovec *vector, int count, off64_t offset)
{
	off_t		size = 0;

	NEXT(pwritev64);
	for (int i = 0; i < count; i++)
		size += vector[i].iov_len;
	REFUSE_IF_FULL(fd, offset + size);
	return next(fd, vector, count, offset);
}

ssize_t
pwritev(int fd, const struct iovec *vector, int count, off_t offset)
{
	return pwritev64(fd, vector, count, offset);
}

int
posix_fallocate64(int fd, off64_t offset, off64_t length)
{
	NEXT(posix_fallocate64);
	if (full(fd, offset + length))
		return ENOSPC;
	return next(fd, offset, length);
}

int
posix_fallocate(int fd, off_t offset, off_t length)
{
	return posix_fallocate64(fd, offset, length);
}

int
gettimeofday(struct timeval *restrict tv, void *restrict zone)
{
	int64_t		usecs;
	int			result;

	NEXT(gettimeofday);
	result = next(tv, zone);
	if (control != NULL && control->clock_usecs != 0 && result == 0)
	{
		usecs = tv->tv_sec * INT64_C(1000000) + tv->tv_usec +
			control->clock_usecs;
		tv->tv_sec = usecs / 1000000;
		tv->tv_usec = usecs % 1000000;
	}
	return result;
}
