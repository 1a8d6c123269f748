// Shows that the child of a fork can use asynchronous I/O that its parent has used, and that the parent's requests are
// not its own. (Natively it waits for threads that it has not got.)
// run: native=no
#include "check.h"

#include <aio.h>
#include <fcntl.h>
#include <sys/wait.h>

static void read_one(int fd, struct aiocb* request, char* byte) {
  memset(request, 0, sizeof *request);
  request->aio_fildes = fd;
  request->aio_buf = byte;
  request->aio_nbytes = 1;
  request->aio_sigevent.sigev_notify = SIGEV_NONE;
  CHECK_SYS(aio_read(request));
}

static void finish(struct aiocb* request, ssize_t value) {
  const struct aiocb* const list[] = {request};
  while (aio_error(request) == EINPROGRESS) CHECK_SYS(aio_suspend(list, 1, NULL));
  CHECK_EQ(aio_return(request), value);
}

int main(void) {
  int ends[2];
  CHECK_SYS(pipe(ends));
  struct aiocb pending, more;
  char bytes[2];
  read_one(ends[0], &pending, &bytes[0]);
  const pid_t child = fork();
  CHECK_SYS(child);
  if (child == 0) {
    const struct aiocb* const list[] = {&pending};
    CHECK_SYS(aio_suspend(list, 1, NULL));
    int own[2];
    CHECK_SYS(pipe(own));
    read_one(own[0], &more, &bytes[1]);
    CHECK_EQ(write(own[1], "b", 1), 1);
    finish(&more, 1);
    CHECK_EQ(bytes[1], 'b');
    _exit(0);
  }
  CHECK_EQ(wait_status(child), 0);
  CHECK_EQ(write(ends[1], "a", 1), 1);
  finish(&pending, 1);
  CHECK_EQ(bytes[0], 'a');
  return 0;
}
