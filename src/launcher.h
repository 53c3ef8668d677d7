/*
 * launcher.h
 *	  The process that starts a worker for each database with the extension.
 */
#ifndef QUEUE_LAUNCHER_H
#define QUEUE_LAUNCHER_H

extern void launcher_register(void);

#endif							/* QUEUE_LAUNCHER_H */
