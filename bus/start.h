/* start.h - czmq made ready, once a process.
 *
 * czmq starts itself at its first use, without a lock: two threads that come first together abort. And it
 * would catch signals, which belong to the programs.
 */
#ifndef ROTA_START_H
#define ROTA_START_H

/* Call it before anything of czmq, in a process that will fork no more. Any thread, any number of times. */
void rota_bus_start (void);

#endif
