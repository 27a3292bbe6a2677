/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The vhost-user device: registers in front, a back end behind, and what happens when it comes, stops and goes. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "device/vhost_user.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "device/bus.h"
#include "device/vhost_wire.h"
#include "virtio_blk_spec.h"
#include "virtio_spec.h"

#define QUEUE 0u
#define RETRY_MS 20 /* between attempts to reach a back end that has gone */
#define DRAIN_MS 1  /* between looks at a ring that is to run dry */
#define DRAIN_MAX_MS 5000
#define RESET_S 3      /* that a register write takes at most */
#define POWER_OFF_S 10 /* of which the first DRAIN_MAX_MS go by in peace */
/* What is returned is told within so long, if it is told at all: a back end may be held up in between. */
#define TELL_MS 10000

/* Features of a ring and of a bus that have nothing to do with who works behind them. */
#define FRONT_FEATURES (VIRTIO_FEATURE(VIRTIO_F_ACCESS_PLATFORM) | VIRTIO_FEATURE(VIRTIO_F_ORDER_PLATFORM))
/* What a driver can see of a back end's features. */
#define BACK_FEATURES                                                                                                  \
	(VIRTIO_FEATURE(VIRTIO_BLK_F_SIZE_MAX) | VIRTIO_FEATURE(VIRTIO_BLK_F_SEG_MAX) |                                \
	 VIRTIO_FEATURE(VIRTIO_BLK_F_GEOMETRY) | VIRTIO_FEATURE(VIRTIO_BLK_F_RO) |                                     \
	 VIRTIO_FEATURE(VIRTIO_BLK_F_BLK_SIZE) | VIRTIO_FEATURE(VIRTIO_BLK_F_FLUSH) |                                  \
	 VIRTIO_FEATURE(VIRTIO_BLK_F_TOPOLOGY) | VIRTIO_FEATURE(VIRTIO_BLK_F_CONFIG_WCE) |                             \
	 VIRTIO_FEATURE(VIRTIO_BLK_F_DISCARD) | VIRTIO_FEATURE(VIRTIO_BLK_F_WRITE_ZEROES) |                            \
	 VIRTIO_FEATURE(VIRTIO_F_INDIRECT_DESC) | VIRTIO_FEATURE(VIRTIO_F_EVENT_IDX) |                                 \
	 VIRTIO_FEATURE(VIRTIO_F_VERSION_1))

enum work {
	WORK_NONE, /* the back end has no ring */
	WORK_RUNS, /* it processes the driver's */
	/* A reset has begun. A back end that is asked to stop need not be able to return what it holds: that comes first. */
	WORK_DRAINS,   /* it returns all that was made available */
	WORK_STOPS,    /* it was asked to stop */
	WORK_HANGS_UP, /* it returned nothing for long: it ends when it closes the connection, and comes again */
};

struct vhost_user {
	struct device dev;
	struct device_stats stats;
	struct virtio_pci vp;
	char path[DEVICE_PLACE_MAX];
	pthread_mutex_t lock;   /* everything below, vp and stats */
	pthread_cond_t stopped; /* work became WORK_NONE */
	pthread_t thread;
	bool started; /* the thread runs */
	bool ending;  /* … until this is set */
	struct vhost vhost;
	int64_t gone_since; /* milliseconds; 0: the back end is there */
	enum work work;
	int64_t draining_since;
	const uint16_t *avail, *used;      /* the indices, while there is work */
	uint16_t counted;                  /* of the used index, in stats.requests */
	uint16_t told;                     /* of it, with the last interrupt */
	int64_t untold_since;              /* 0: all of it */
	bool kicked;                       /* the driver has rung, and no back end has heard it */
	bool called;                       /* the back end has returned chains */
	bool changed;                      /* the configuration has */
	bool blamed;                       /* the ring's memory was found wanting */
	uint8_t shown[VHOST_CONFIG_BYTES]; /* the configuration as the driver sees it */
	uint8_t writeback;                 /* of it, as the back end had it at first */
	bool lacks;                        /* something that was asked for: lack says what */
	struct error lack;
	int kick_fd, call_fd, wake_fd; /* eventfds; wake_fd: of the thread */
};

static struct vhost_user *of(struct device *dev)
{
	return (struct vhost_user *)(void *)((char *)dev - offsetof(struct vhost_user, dev));
}

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void ring_bell(int fd)
{
	uint64_t one = 1;
	ssize_t written = write(fd, &one, sizeof(one));

	(void)written; /* a full counter rings as well */
}

static bool heard_bell(int fd)
{
	uint64_t count;

	return read(fd, &count, sizeof(count)) == sizeof(count);
}

static bool is_there(const struct vhost_user *vu)
{
	return vu->vhost.fd >= 0;
}

/* ---- the ring in memory ---- */

/* Host address of a range that lies in one piece of RAM, or NULL. */
static const void *host_of(const struct vhost_user *vu, uint64_t addr, uint64_t length)
{
	for (unsigned i = 0; i < vu->dev.bus.memory_count; i++) {
		const struct device_memory *memory = &vu->dev.bus.memory[i];

		if (addr >= memory->addr && length <= memory->length && addr - memory->addr <= memory->length - length)
			return (const uint8_t *)memory->host + (addr - memory->addr);
	}
	return NULL;
}

/* Where the ring lies, and that it lies in memory that the driver has given to the device. */
static bool place_ring(struct vhost_user *vu, struct vhost_ring *ring)
{
	const struct virtio_pci_queue *queue = &vu->vp.queue[QUEUE];
	bool event_idx = virtio_pci_negotiated(&vu->vp, VIRTIO_F_EVENT_IDX);
	struct {
		uint64_t addr, length;
		bool write;
		const void **host;
	} parts[] = {
		{ queue->desc, sizeof(struct virtq_desc) * queue->size, false, &ring->desc },
		{ queue->avail, offsetof(struct virtq_avail, ring) + 2ull * (queue->size + event_idx), false,
		  &ring->avail },
		{ queue->used,
		  offsetof(struct virtq_used, ring) + sizeof(struct virtq_used_elem) * queue->size + 2ull * event_idx,
		  true, &ring->used },
	};

	for (unsigned i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		*parts[i].host = host_of(vu, parts[i].addr, parts[i].length);
		if (!*parts[i].host || !bus_granted(&vu->dev.bus, parts[i].addr, parts[i].length, parts[i].write))
			return false;
	}
	ring->size = queue->size;
	vu->avail = (const uint16_t *)ring->avail + 1;
	vu->used = (const uint16_t *)ring->used + 1;
	return true;
}

/* Chains that the driver has made available and that were not returned to it. */
static uint16_t outstanding(const struct vhost_user *vu)
{
	if (vu->work == WORK_NONE)
		return 0;
	return (uint16_t)(__atomic_load_n(vu->avail, __ATOMIC_ACQUIRE) - __atomic_load_n(vu->used, __ATOMIC_ACQUIRE));
}

static void count_requests(struct vhost_user *vu)
{
	uint16_t used;

	if (vu->work == WORK_NONE)
		return;
	used = __atomic_load_n(vu->used, __ATOMIC_ACQUIRE);
	vu->stats.requests += (uint16_t)(used - vu->counted);
	vu->counted = used;
}

/*
 * Whether something was returned that the machine has not been told of, and may be still. A driver that wants no
 * interrupt is not told at all.
 */
static bool may_be_told(struct vhost_user *vu)
{
	uint16_t used = vu->work == WORK_RUNS ? __atomic_load_n(vu->used, __ATOMIC_ACQUIRE) : vu->told;

	if (used == vu->told) {
		vu->untold_since = 0;
		return false;
	}
	if (!vu->untold_since)
		vu->untold_since = now_ms();
	if (now_ms() - vu->untold_since < TELL_MS)
		return true;
	vu->told = used;
	vu->untold_since = 0;
	return false;
}

/* ---- coming and going; the lock is held ---- */

static bool is_stopping(const struct vhost_user *vu)
{
	return vu->work != WORK_NONE && vu->work != WORK_RUNS;
}

static void wake_machine(struct vhost_user *vu)
{
	if (vu->dev.bus.wake)
		vu->dev.bus.wake(vu->dev.bus.opaque);
}

static void finish_stop(struct vhost_user *vu)
{
	count_requests(vu);
	vu->work = WORK_NONE;
	heard_bell(vu->call_fd);
	heard_bell(vu->kick_fd);
	vu->called = false;
	virtio_pci_stopped(&vu->vp);
	pthread_cond_broadcast(&vu->stopped);
	wake_machine(vu);
}

/*
 * The back end has gone, and its memory with it: nothing is written any more. What it had fetched and not returned
 * nobody knows; if there was nothing, another one can go on where it was.
 */
static void back_end_gone(struct vhost_user *vu)
{
	bool stopping = is_stopping(vu);
	uint16_t left = outstanding(vu);

	vhost_close(&vu->vhost);
	vu->gone_since = now_ms();
	if (stopping) {
		finish_stop(vu);
	} else if (vu->work == WORK_RUNS) {
		count_requests(vu);
		vu->work = WORK_NONE;
		vu->called = true; /* of what it returned it may have told nobody */
		if (left)
			virtio_pci_needs_reset(&vu->vp);
		wake_machine(vu);
	}
	ring_bell(vu->wake_fd);
}

static void start_work(struct vhost_user *vu)
{
	uint64_t features = vu->vp.driver_features & vu->vhost.features;
	struct vhost_ring ring = { .kick_fd = vu->kick_fd, .call_fd = vu->call_fd };
	struct error err;

	if (vu->blamed || vu->work != WORK_NONE || !is_there(vu) || !virtio_pci_queue(&vu->vp, QUEUE))
		return;
	if (!place_ring(vu, &ring)) {
		vu->blamed = true;
		virtio_pci_needs_reset(&vu->vp);
		return;
	}
	ring.base = __atomic_load_n(vu->used, __ATOMIC_ACQUIRE);
	vu->counted = vu->told = ring.base;
	if (vhost_start(&vu->vhost, vu->dev.bus.memory, vu->dev.bus.memory_count, features, &ring, &err)) {
		fprintf(stderr, "storhost: %s\n", err.text);
		back_end_gone(vu);
		return;
	}
	vu->work = WORK_RUNS;
	ring_bell(vu->wake_fd);
}

/* The driver has rung: the back end hears it, now or when it is there again. */
static void pass_on_kick(struct vhost_user *vu)
{
	start_work(vu);
	if (vu->work != WORK_RUNS || !virtio_pci_queue(&vu->vp, QUEUE))
		return;
	vu->kicked = false;
	ring_bell(vu->kick_fd);
}

static void back_end_came(struct vhost_user *vu)
{
	uint64_t offered = vu->vp.options.features & ~FRONT_FEATURES;

	if (offered & ~vu->vhost.features) {
		fprintf(stderr, "storhost: the vhost-user back end at '%s' came back without features that it had\n",
			vu->path);
		vhost_close(&vu->vhost);
		return;
	}
	vu->gone_since = 0;
	vu->changed = true;
	wake_machine(vu);
	if (vu->kicked)
		pass_on_kick(vu);
}

/* ---- the device's own thread ---- */

static bool may_return(const struct vhost_user *vu)
{
	return vu->gone_since && now_ms() - vu->gone_since < VHOST_RETURN_S * 1000;
}

/* Connecting can take as long as a message may: without the lock. */
static void look_for_back_end(struct vhost_user *vu)
{
	struct vhost vhost;
	struct error err;
	int failed;

	pthread_mutex_unlock(&vu->lock);
	failed = vhost_open(&vhost, vu->path, &err);
	pthread_mutex_lock(&vu->lock);
	if (failed)
		return;
	vu->vhost = vhost;
	back_end_came(vu);
}

/* Anything but the one answer that the thread waits for belongs to whoever holds the lock and asks. */
static void hear_back_end(struct vhost_user *vu)
{
	struct pollfd poller = { .fd = vu->vhost.fd, .events = POLLIN | POLLRDHUP };
	struct error err;

	if (!is_there(vu) || poll(&poller, 1, 0) <= 0)
		return;
	if (vu->work != WORK_STOPS || !(poller.revents & POLLIN) || vhost_end_stop(&vu->vhost, &err))
		back_end_gone(vu);
	else
		finish_stop(vu);
}

/* Locks: held. The next step of a reset, if it is time for it. */
static void go_on_stopping(struct vhost_user *vu)
{
	struct error err;

	if (vu->work != WORK_DRAINS)
		return;
	if (!outstanding(vu)) {
		vu->work = WORK_STOPS;
		if (vhost_begin_stop(&vu->vhost, &err))
			back_end_gone(vu);
	} else if (now_ms() - vu->draining_since > DRAIN_MAX_MS) {
		vu->work = WORK_HANGS_UP;
		vhost_hang_up(&vu->vhost);
	}
}

static void hear_notice(struct vhost_user *vu)
{
	bool changed = false;
	struct error err;

	if (vhost_take_notice(&vu->vhost, &changed, &err)) {
		close(vu->vhost.notice_fd);
		vu->vhost.notice_fd = -1;
		return;
	}
	if (!changed || vhost_read_config(&vu->vhost, &err))
		return;
	vu->changed = true;
	wake_machine(vu);
}

static int wait_ms(const struct vhost_user *vu)
{
	if (vu->work == WORK_DRAINS)
		return DRAIN_MS;
	return !is_there(vu) && may_return(vu) ? RETRY_MS : -1;
}

static void *wait_for_back_end(void *arg)
{
	struct vhost_user *vu = arg;

	pthread_mutex_lock(&vu->lock);
	while (!vu->ending) {
		struct pollfd pollers[] = {
			{ .fd = vu->wake_fd, .events = POLLIN },
			{ .fd = vu->call_fd, .events = POLLIN },
			{ .fd = vu->vhost.fd, .events = vu->work == WORK_STOPS ? POLLIN : POLLRDHUP },
			{ .fd = vu->vhost.notice_fd, .events = POLLIN },
		};
		int timeout = wait_ms(vu);

		pthread_mutex_unlock(&vu->lock);
		poll(pollers, sizeof(pollers) / sizeof(pollers[0]), timeout);
		pthread_mutex_lock(&vu->lock);
		heard_bell(vu->wake_fd);
		if (heard_bell(vu->call_fd)) {
			vu->called = true;
			wake_machine(vu);
		}
		if (pollers[2].revents)
			hear_back_end(vu);
		if (pollers[3].revents && pollers[3].fd == vu->vhost.notice_fd)
			hear_notice(vu);
		go_on_stopping(vu);
		if (!is_there(vu) && may_return(vu) && !vu->ending)
			look_for_back_end(vu);
	}
	pthread_mutex_unlock(&vu->lock);
	return NULL;
}

/* ---- what the transport asks ---- */

static uint8_t vu_config_read(void *opaque, unsigned offset)
{
	const struct vhost_user *vu = opaque;
	unsigned queues = offsetof(struct virtio_blk_config, num_queues);

	/* MQ is not offered: there is one queue. */
	if (offset >= VHOST_CONFIG_BYTES || offset == queues || offset == queues + 1)
		return 0;
	return vu->shown[offset];
}

static bool vu_config_write(void *opaque, unsigned offset, unsigned width, uint32_t value)
{
	struct vhost_user *vu = opaque;
	struct error err;

	if (offset != offsetof(struct virtio_blk_config, writeback) || width != 1 ||
	    !virtio_pci_negotiated(&vu->vp, VIRTIO_BLK_F_CONFIG_WCE))
		return false;
	if (is_there(vu) && vhost_write_config(&vu->vhost, offset, value & 1, &err))
		back_end_gone(vu);
	vu->shown[offset] = vu->vhost.config[offset] = value & 1;
	return true;
}

static void vu_negotiated(void *opaque)
{
	(void)opaque;
}

static void vu_notified(void *opaque, unsigned queue)
{
	struct vhost_user *vu = opaque;

	(void)queue;
	vu->kicked = true;
	pass_on_kick(vu);
}

/* A reset begins; it is over once there is no work. */
static void begin_stop(struct vhost_user *vu)
{
	vu->kicked = false;
	vu->called = false;
	vu->blamed = false;
	if (vu->work != WORK_RUNS)
		return;
	vu->work = WORK_DRAINS;
	vu->draining_since = now_ms();
	ring_bell(vu->kick_fd);
	go_on_stopping(vu);
	ring_bell(vu->wake_fd);
}

/* Dropping the lock, waits so long for the end of the work, in real time alone; whether it has come. */
static bool await_stop(struct vhost_user *vu, unsigned seconds)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += seconds;
	while (vu->work != WORK_NONE && !pthread_cond_timedwait(&vu->stopped, &vu->lock, &until))
		;
	return vu->work == WORK_NONE;
}

/* A reset takes back what the driver has chosen for the cache, which a back end would keep. [virtio 5.2.5] */
static void restore_cache(struct vhost_user *vu)
{
	unsigned at = offsetof(struct virtio_blk_config, writeback);
	struct error err;

	if (vu->shown[at] == vu->writeback)
		return;
	if (is_there(vu) && vu->work == WORK_NONE && vhost_write_config(&vu->vhost, at, vu->writeback, &err))
		back_end_gone(vu);
	vu->shown[at] = vu->vhost.config[at] = vu->writeback;
}

/* A back end that is soon done is done at once; how long a driver waits for one that is not is the driver's affair. */
static bool vu_stop(void *opaque)
{
	bool stopped;

	begin_stop(opaque);
	stopped = await_stop(opaque, RESET_S);
	restore_cache(opaque);
	return stopped;
}

static const struct virtio_pci_type vu_type = {
	.config_length = sizeof(struct virtio_blk_config),
	.config_field = virtio_blk_config_field,
	.config_wide = virtio_blk_config_wide,
	.config_read = vu_config_read,
	.config_write = vu_config_write,
	.negotiated = vu_negotiated,
	.notified = vu_notified,
	.stop = vu_stop,
};

/* ---- the seam ---- */

static uint32_t vu_pci_read(struct device *dev, unsigned offset, unsigned width)
{
	struct vhost_user *vu = of(dev);
	uint32_t value;

	pthread_mutex_lock(&vu->lock);
	value = virtio_pci_config_read(&vu->vp, offset, width);
	pthread_mutex_unlock(&vu->lock);
	return value;
}

static void vu_pci_write(struct device *dev, unsigned offset, unsigned width, uint32_t value)
{
	struct vhost_user *vu = of(dev);

	pthread_mutex_lock(&vu->lock);
	virtio_pci_config_write(&vu->vp, offset, width, value);
	/* Bus mastering came back: what it held up goes on. */
	if (vu->kicked)
		pass_on_kick(vu);
	pthread_mutex_unlock(&vu->lock);
}

static uint64_t vu_bar_length(struct device *dev, unsigned bar)
{
	return virtio_pci_bar_length(&of(dev)->vp, bar);
}

static uint64_t vu_bar_read(struct device *dev, unsigned bar, uint64_t offset, unsigned width)
{
	struct vhost_user *vu = of(dev);
	uint64_t value;

	pthread_mutex_lock(&vu->lock);
	value = virtio_pci_bar_read(&vu->vp, bar, offset, width);
	pthread_mutex_unlock(&vu->lock);
	return value;
}

static void vu_bar_write(struct device *dev, unsigned bar, uint64_t offset, unsigned width, uint64_t value)
{
	struct vhost_user *vu = of(dev);

	pthread_mutex_lock(&vu->lock);
	virtio_pci_bar_write(&vu->vp, bar, offset, width, value);
	pthread_mutex_unlock(&vu->lock);
}

static bool vu_step(struct device *dev, uint64_t random)
{
	struct vhost_user *vu = of(dev);

	(void)random;
	pthread_mutex_lock(&vu->lock);
	count_requests(vu);
	if (vu->changed && memcmp(vu->shown, vu->vhost.config, sizeof(vu->shown))) {
		memcpy(vu->shown, vu->vhost.config, sizeof(vu->shown));
		virtio_pci_config_changed(&vu->vp);
	}
	if (vu->called) {
		vu->told = vu->counted;
		virtio_pci_queue_interrupt(&vu->vp, QUEUE);
	}
	vu->changed = false;
	vu->called = false;
	pthread_mutex_unlock(&vu->lock);
	return false;
}

static bool vu_owes(struct device *dev)
{
	struct vhost_user *vu = of(dev);
	bool owes;

	pthread_mutex_lock(&vu->lock);
	owes = outstanding(vu) || may_be_told(vu) || vu->kicked || vu->called || is_stopping(vu) ||
	       (vu->vp.status & VIRTIO_STATUS_DEVICE_NEEDS_RESET);
	pthread_mutex_unlock(&vu->lock);
	return owes;
}

static bool vu_busy(struct device *dev)
{
	struct vhost_user *vu = of(dev);
	bool busy;

	pthread_mutex_lock(&vu->lock);
	busy = outstanding(vu) || is_stopping(vu) || may_be_told(vu) || (vu->kicked && may_return(vu));
	pthread_mutex_unlock(&vu->lock);
	return busy;
}

static bool vu_running(struct device *dev)
{
	struct vhost_user *vu = of(dev);
	bool running;

	pthread_mutex_lock(&vu->lock);
	running = virtio_pci_driver_ok(&vu->vp);
	pthread_mutex_unlock(&vu->lock);
	return running;
}

/* Locks: held, dropped while it waits. Afterwards nobody writes to memory. */
static void stop_now(struct vhost_user *vu)
{
	begin_stop(vu);
	if (await_stop(vu, POWER_OFF_S)) {
		restore_cache(vu);
		return;
	}
	fprintf(stderr, "storhost: the vhost-user back end at '%s' does not stop\n", vu->path);
	back_end_gone(vu);
}

static void vu_power_cycle(struct device *dev)
{
	struct vhost_user *vu = of(dev);

	pthread_mutex_lock(&vu->lock);
	stop_now(vu);
	virtio_pci_power_on(&vu->vp);
	pthread_mutex_unlock(&vu->lock);
}

static void vu_pulled_out(struct device *dev)
{
	struct vhost_user *vu = of(dev);

	pthread_mutex_lock(&vu->lock);
	stop_now(vu);
	pthread_mutex_unlock(&vu->lock);
}

static const struct device_stats *vu_stats(struct device *dev)
{
	struct vhost_user *vu = of(dev);

	pthread_mutex_lock(&vu->lock);
	count_requests(vu);
	pthread_mutex_unlock(&vu->lock);
	return &vu->stats;
}

static int vu_fault(struct device *dev, const char *spec, struct error *err)
{
	struct virtio_blk_options options;
	struct vhost_user *vu = of(dev);
	bool registers = strstr(spec, "fault-registers=");

	virtio_blk_defaults(&options);
	if (virtio_blk_parse(&options, spec, err))
		return -1;
	if (!registers && options.fault != FAULT_NONE) {
		error_set(err, "a vhost-user device cannot be told '%s'", spec);
		return DEVICE_CANNOT;
	}
	pthread_mutex_lock(&vu->lock);
	if (registers)
		virtio_pci_set_registers(&vu->vp, options.pci.registers);
	pthread_mutex_unlock(&vu->lock);
	return 0;
}

static const char *vu_lacks(struct device *dev)
{
	return of(dev)->lacks ? of(dev)->lack.text : NULL;
}

static int vu_attached(struct device *dev, struct error *err)
{
	struct vhost_user *vu = of(dev);

	if (vu->started)
		return 0;
	if (pthread_create(&vu->thread, NULL, wait_for_back_end, vu))
		return error_set(err, "cannot start a thread for the vhost-user back end");
	vu->started = true;
	return 0;
}

static void close_fd(int fd)
{
	if (fd >= 0)
		close(fd);
}

static void vu_destroy(struct device *dev)
{
	struct vhost_user *vu = of(dev);

	pthread_mutex_lock(&vu->lock);
	stop_now(vu);
	vu->ending = true;
	pthread_mutex_unlock(&vu->lock);
	if (vu->started) {
		ring_bell(vu->wake_fd);
		pthread_join(vu->thread, NULL);
	}
	vhost_close(&vu->vhost);
	virtio_pci_free(&vu->vp);
	close_fd(vu->kick_fd);
	close_fd(vu->call_fd);
	close_fd(vu->wake_fd);
	pthread_cond_destroy(&vu->stopped);
	pthread_mutex_destroy(&vu->lock);
	free(vu);
}

static const struct device_ops vu_ops = {
	.name = "vhost-user",
	.config_read = vu_pci_read,
	.config_write = vu_pci_write,
	.bar_length = vu_bar_length,
	.bar_read = vu_bar_read,
	.bar_write = vu_bar_write,
	.step = vu_step,
	.owes = vu_owes,
	.running = vu_running,
	.power_cycle = vu_power_cycle,
	.stats = vu_stats,
	.destroy = vu_destroy,
	.lacks = vu_lacks,
	.attached = vu_attached,
	.busy = vu_busy,
	.pulled_out = vu_pulled_out,
	.fault = vu_fault,
};

/* ---- construction ---- */

/* What a back end decides: options ask for it, and it is so or not. */
static const struct {
	const char *key;
	size_t option, option_size, config, config_size;
} asked[] = {
#define ASKED(key, o, c)                                                                                               \
	{ key, offsetof(struct virtio_blk_options, o), sizeof(((struct virtio_blk_options *)0)->o),                    \
	  offsetof(struct virtio_blk_config, c), sizeof(((struct virtio_blk_config *)0)->c) }
	ASKED("seg-max", seg_max, seg_max),
	ASKED("blk-size", blk_size, blk_size),
	ASKED("size-max", size_max, size_max),
	ASKED("physical-exp", physical_exp, topology.physical_block_exp),
	ASKED("alignment", alignment, topology.alignment_offset),
	ASKED("min-io", min_io, topology.min_io_size),
	ASKED("opt-io", opt_io, topology.opt_io_size),
	ASKED("discard-sectors", discard_sectors, max_discard_sectors),
	ASKED("discard-seg", discard_seg, max_discard_seg),
	ASKED("discard-alignment", discard_alignment, discard_sector_alignment),
	ASKED("zeroes-sectors", zeroes_sectors, max_write_zeroes_sectors),
	ASKED("zeroes-seg", zeroes_seg, max_write_zeroes_seg),
	ASKED("zeroes-may-unmap", zeroes_may_unmap, write_zeroes_may_unmap),
};

#define ASKED_ROWS (sizeof(asked) / sizeof(asked[0]))

/* Whether the options say something of what a vhost-user device has not. What any device may do at will is no matter. */
static bool is_beyond(const struct virtio_blk_options *options)
{
	struct virtio_blk_options rest = *options, none;

	virtio_blk_defaults(&none);
	rest.pci = none.pci;
	rest.reorder = none.reorder;
	rest.outstanding = none.outstanding;
	rest.batch = none.batch;
	rest.used_len = none.used_len;
	rest.read_only = none.read_only;
	for (size_t i = 0; i < ASKED_ROWS; i++)
		memcpy((char *)&rest + asked[i].option, (char *)&none + asked[i].option, asked[i].option_size);
	return memcmp(&rest, &none, sizeof(rest)) || options->pci.always_signal != none.pci.always_signal ||
	       options->pci.num_queues != none.pci.num_queues;
}

static uint64_t number_at(const void *base, size_t offset, size_t size)
{
	uint64_t value = 0;

	memcpy(&value, (const char *)base + offset, size);
	return value;
}

static void find_lack(struct vhost_user *vu, const struct device_choice *choice)
{
	struct virtio_blk_options none;

	virtio_blk_defaults(&none);
	vu->lacks = choice->wanted & ~vu->vp.options.features;
	if (vu->lacks)
		error_set(&vu->lack, "the back end does not offer the features 0x%llx",
			  (unsigned long long)(choice->wanted & ~vu->vp.options.features));
	if (choice->model.read_only && !(vu->vp.options.features & VIRTIO_FEATURE(VIRTIO_BLK_F_RO))) {
		error_set(&vu->lack, "the back end's disk is not read-only");
		vu->lacks = true;
	}
	for (size_t i = 0; i < ASKED_ROWS; i++) {
		uint64_t value = number_at(&choice->model, asked[i].option, asked[i].option_size);
		uint64_t is = number_at(vu->shown, asked[i].config, asked[i].config_size);

		if (value == is || value == number_at(&none, asked[i].option, asked[i].option_size))
			continue;
		error_set(&vu->lack, "the back end has %s=%llu and not %llu", asked[i].key, (unsigned long long)is,
			  (unsigned long long)value);
		vu->lacks = true;
	}
}

void vhost_user_defaults(struct device_choice *choice)
{
	choice->model.pci.features = BACK_FEATURES;
}

/* pci.features holds what the driver may see, as far as it is the back end's. */
int vhost_user_parse(struct device_choice *choice, const char *options, struct error *err)
{
	struct virtio_blk_options parsed = choice->model, added = choice->model;

	added.pci.features = 0;
	if (virtio_blk_parse(&parsed, options, err) || virtio_blk_parse(&added, options, err))
		return -1;
	if (is_beyond(&parsed)) {
		error_set(err, "a vhost-user device cannot be told '%s'", options);
		return DEVICE_CANNOT;
	}
	choice->model = parsed;
	choice->wanted |= added.pci.features;
	return 0;
}

int vhost_user_check(const struct device_choice *choice, struct error *err)
{
	struct vhost vhost;

	if (vhost_open(&vhost, choice->place, err))
		return -1;
	vhost_close(&vhost);
	return 0;
}

static int open_bells(struct vhost_user *vu, struct error *err)
{
	vu->kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	vu->call_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	vu->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (vu->kick_fd < 0 || vu->call_fd < 0 || vu->wake_fd < 0)
		return error_set(err, "cannot make an eventfd: %s", strerror(errno));
	return 0;
}

struct device *vhost_user_open(const struct device_choice *choice, const char *disk, struct error *err)
{
	struct virtio_pci_options options = choice->model.pci;
	struct vhost_user *vu = calloc(1, sizeof(*vu));

	(void)disk;
	if (!vu) {
		error_set(err, "out of memory");
		return NULL;
	}
	vu->dev.ops = &vu_ops;
	vu->kick_fd = vu->call_fd = vu->wake_fd = -1;
	strcpy(vu->path, choice->place);
	pthread_mutex_init(&vu->lock, NULL);
	pthread_cond_init(&vu->stopped, NULL);
	if (virtio_pci_complete(&options, err) || vhost_open(&vu->vhost, vu->path, err)) {
		vu->vhost = (struct vhost){ .fd = -1, .notice_fd = -1 };
		vu_destroy(&vu->dev);
		return NULL;
	}
	memcpy(vu->shown, vu->vhost.config, sizeof(vu->shown));
	vu->writeback = vu->shown[offsetof(struct virtio_blk_config, writeback)];
	options.features &= FRONT_FEATURES | (vu->vhost.features & BACK_FEATURES);
	vu->stats.bytes_read = vu->stats.bytes_written = vu->stats.flushes = DEVICE_UNCOUNTED;
	vu->stats.discards = vu->stats.zeroes = vu->stats.faults = DEVICE_UNCOUNTED;
	if (virtio_pci_init(&vu->vp, &options, &vu_type, vu, &vu->dev.bus, &vu->stats) || open_bells(vu, err)) {
		error_set(err, "out of memory");
		vu_destroy(&vu->dev);
		return NULL;
	}
	find_lack(vu, choice);
	return &vu->dev;
}
