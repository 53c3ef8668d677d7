/*
 * guc.h
 *	  Settings, and the checks with which every writing function begins.
 */
#ifndef QUEUE_GUC_H
#define QUEUE_GUC_H

extern int	queue_key_memory;
extern int	queue_max_queues;
extern int	queue_max_segments;
extern int	queue_map_memory;
extern int	queue_max_databases;
extern int	queue_segment_size;
extern int	queue_truncate_grace;
extern int	queue_notify_interval;
extern int	queue_park_after;
extern bool queue_durable_claims;
extern bool queue_release_on_disconnect;

extern void guc_define(void);
extern void queue_prevent_readonly(const char *what);
extern void queue_require_preload(void);

#endif							/* QUEUE_GUC_H */
