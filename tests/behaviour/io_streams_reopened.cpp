// Shows stdio over descriptors that threads wait on: fdopen and fclose, freopen, popen and pclose, getline from a
// channel whose other end writes slowly, and descriptors of theirs that come back under the same number.
#include "io.h"

namespace {

// The text of line i, three to five characters.
const char* text(int i) { return &"seven"[i % 3]; }

void lines_come_slowly(int index) {
  for (int round = 0; round < 4; round++) {
    const Channel channel = kStreams[(index + round) % 3]();
    Call reader([channel] {
      FILE* stream = fdopen(channel.in, "r");
      CHECK(stream != nullptr);
      char line[100], wanted[100];
      int lines = 0;
      while (fgets(line, sizeof line, stream) != nullptr) {
        snprintf(wanted, sizeof wanted, "%s %d\n", text(lines), lines);
        CHECK_STR(line, wanted);
        lines++;
      }
      CHECK(feof(stream));
      CHECK_EQ(fclose(stream), 0);
      return lines;
    });
    FILE* stream = fdopen(channel.out, "w");
    CHECK(stream != nullptr);
    for (int i = 0; i < 20; i++) {
      CHECK(fprintf(stream, "%s", text(i)) > 0);
      if (i % 5 == 0) CHECK_EQ(fflush(stream), 0);
      if (i % 5 == 0) reader.settle();
      CHECK(fprintf(stream, " %d\n", i) > 0);
    }
    CHECK_EQ(fclose(stream), 0);
    CHECK_EQ(reader.result(), 20);
  }
}

// A stream that is opened again on something else keeps its number or takes another; what comes is the new one's.
void opened_again() {
  char path[] = "/tmp/io_streams_XXXXXX";
  const int file = mkstemp(path);
  CHECK_SYS(file);
  CHECK_EQ(write(file, "from the file\n", 14), 14);
  CHECK_SYS(close(file));
  for (int round = 0; round < 10; round++) {
    const Channel channel = pipe_channel();
    FILE* stream = fdopen(channel.in, "r");
    Call first([stream] { return fgetc(stream); });
    first.settle();
    CHECK_EQ(write(channel.out, "p", 1), 1);
    CHECK_EQ(first.result(), 'p');
    stream = freopen(path, "r", stream);
    CHECK(stream != nullptr);
    Call second([stream] { return fgetc(stream); });
    CHECK_EQ(second.result(), 'f');
    // The pipe has no reader any more.
    on_signal(SIGPIPE, SIG_IGN);
    CHECK_ERRNO(write(channel.out, "x", 1), EPIPE);
    CHECK_SYS(close(channel.out));
    CHECK_EQ(fclose(stream), 0);
    // Whatever gets the numbers now is new.
    const Channel next = unix_channel();
    Call waits([next] {
      char bytes[10];
      return read(next.in, bytes, sizeof bytes);
    });
    waits.settle();
    CHECK_EQ(write(next.out, "next", 4), 4);
    CHECK_EQ(waits.result(), 4);
    next.close_both();
  }
  CHECK_SYS(unlink(path));
}

void children(int index) {
  for (int round = 0; round < 3; round++) {
    FILE* out = popen("echo one; read -r line < /dev/null; echo two; exit 3", "r");
    CHECK(out != nullptr);
    char line[100];
    CHECK(fgets(line, sizeof line, out) != nullptr);
    CHECK_STR(line, "one\n");
    CHECK(fgets(line, sizeof line, out) != nullptr);
    CHECK_STR(line, "two\n");
    CHECK(fgets(line, sizeof line, out) == nullptr);
    const int status = pclose(out);
    CHECK(WIFEXITED(status));
    CHECK_EQ(WEXITSTATUS(status), 3);
    // The other way: it waits for what comes.
    FILE* in = popen("read -r a; read -r b; test \"$a$b\" = firstsecond", "w");
    CHECK(in != nullptr);
    CHECK(fprintf(in, "first\n") > 0);
    CHECK_EQ(fflush(in), 0);
    stir(static_cast<unsigned>(index + round));
    CHECK(fprintf(in, "second\n") > 0);
    CHECK_EQ(pclose(in), 0);
    // Their numbers again, at once.
    const Channel channel = pipe_channel();
    Call waits([channel] {
      char byte;
      return read(channel.in, &byte, 1);
    });
    waits.settle();
    CHECK_EQ(write(channel.out, "x", 1), 1);
    CHECK_EQ(waits.result(), 1);
    channel.close_both();
  }
}

}  // namespace

int main() {
  parallel(4, lines_come_slowly);
  opened_again();
  parallel(3, children);
  return 0;
}
