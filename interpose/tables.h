// All tables of interposed symbols (see real.h). No include guard: expanded several times.
#include "interpose/cancel.def"
#include "interpose/ident.def"
#include "interpose/io.def"
#include "interpose/process.def"
#include "interpose/signal.def"
#include "interpose/sync.def"
#include "interpose/thread.def"
#include "interpose/time.def"
