/*
 * debug.h
 *	  Places at which a test can stop a process; nothing in a release build.
 *
 * See debug.c.
 */
#ifndef QUEUE_DEBUG_H
#define QUEUE_DEBUG_H

#ifdef QUEUE_DEBUG
#define QUEUE_DEBUG_POINT(name) debug_point(name)

extern void debug_define(void);
extern void debug_point(const char *name);
extern int	debug_dedup_period(void);
extern void debug_forbid_allocation(void);
extern void debug_allow_allocation(void);
#else
#define QUEUE_DEBUG_POINT(name) ((void) 0)
#define debug_define() ((void) 0)
#define debug_dedup_period() 0
#define debug_forbid_allocation() ((void) 0)
#define debug_allow_allocation() ((void) 0)
#endif

#endif							/* QUEUE_DEBUG_H */
