# goshim: build, test, measure. `make help` lists the commands.
#
#   make                    build/libgoshim.so
#   make CXX=clang++        the same with clang, into build-clang/
#   make DEBUG=1            with the invariants checked, into build-debug/
#   make ARCH=aarch64       for another processor, into build-aarch64/: library and tests, which `make test` runs emulated
#
# Debian packages that a command needs and that are missing are installed first (tests/need).

# The folder of arch/ to build with. Another processor's than this machine's wants Debian's cross compiler and, to run
# anything, qemu-user.
MACHINE := $(shell uname -m)
ARCH ?= $(MACHINE)
CROSS := $(if $(filter-out $(MACHINE),$(ARCH)),$(ARCH)-linux-gnu)
ifeq ($(origin CXX),default)
CXX := $(if $(CROSS),$(CROSS)-)g++
endif
CXX_IS_CLANG := $(findstring clang,$(CXX))
ifeq ($(origin CC),default)
CC := $(if $(CXX_IS_CLANG),clang,$(if $(CROSS),$(CROSS)-)gcc)
endif
# What a port wants in addition: PORT_FLAGS, PORT_EMULATOR.
-include arch/$(ARCH)/port.mk
EMULATOR := $(if $(CROSS),qemu-$(ARCH) -L /usr/$(CROSS) $(PORT_EMULATOR))
B ?= build$(if $(CROSS),-$(ARCH))$(if $(CXX_IS_CLANG),-clang)$(if $(DEBUG),-debug)
V ?=
Q := $(if $(V),,@)

# Parallel by itself, unless told otherwise.
ifeq ($(MAKELEVEL)$(filter -j%,$(MAKEFLAGS)),0)
MAKEFLAGS += -j$(shell nproc)
endif
MAKEFLAGS += --no-builtin-rules
.SUFFIXES:
.DELETE_ON_ERROR:
.DEFAULT_GOAL := lib

INCLUDES := -I. -Isrc -DGOSHIM_ARCH=$(ARCH)
WARNINGS := -Wall -Wextra -Werror
VERSION := 0.10.0
DEFINES := $(if $(DEBUG),-DGOSHIM_DEBUG) -DGOSHIM_VERSION='"$(VERSION)"'
# No stack protector and no fortified calls: the runtime may call only what tests/rules lists.
# Functions begin at a cache line: where they fell by chance, 64 threads at one mutex took 20 or 40 ns an operation.
LIB_FLAGS := -std=c++20 -O2 -g -falign-functions=64 -fPIC -fno-exceptions -fno-rtti -fvisibility=hidden \
  -ftls-model=initial-exec -fno-threadsafe-statics -fno-stack-protector -U_FORTIFY_SOURCE -D_GNU_SOURCE $(PORT_FLAGS) $(WARNINGS) $(INCLUDES) $(DEFINES)
# Bound at load time: lazy binding takes the loader's locks inside the runtime. Never unloaded: threads live in it.
LIB_LINK := -shared -nodefaultlibs -Wl,-soname,libgoshim.so -Wl,-z,now -Wl,-z,relro -Wl,-z,defs -Wl,-z,nodelete \
  -Wl,-z,noexecstack -Wl,--as-needed
# g++ warns that its thread sanitizer does not understand fences; the tests pass all the same.
NO_TSAN_WARNING := $(if $(CXX_IS_CLANG),,-Wno-tsan)
TEST_FLAGS := -std=c++20 -O2 -g -pthread -D_GNU_SOURCE $(WARNINGS) $(DEFINES)
TEST_C_FLAGS := -std=gnu11 -O2 -g -pthread -D_GNU_SOURCE $(WARNINGS)

RUNTIME_SOURCES := $(wildcard arch/$(ARCH)/*.S arch/$(ARCH)/*.cpp src/*.cpp src/*/*.cpp src/*/*/*.cpp)
INTERPOSE_SOURCES := $(wildcard interpose/*.cpp arch/$(ARCH)/exports/*.S)
RUNTIME_OBJECTS := $(addprefix $(B)/obj/,$(addsuffix .o,$(RUNTIME_SOURCES)))
INTERPOSE_OBJECTS := $(addprefix $(B)/obj/,$(addsuffix .o,$(INTERPOSE_SOURCES)))
LIB := $(B)/libgoshim.so

MULTIARCH := $(shell $(CXX) -print-multiarch)
LAUNCHER_SOURCES := $(wildcard launcher/*.cpp)
LAUNCHER_OBJECTS := $(addprefix $(B)/obj/,$(addsuffix .o,$(LAUNCHER_SOURCES)))
LAUNCHER := $(B)/goshim
# Parts of the library that the launcher has too: the table of options, and what that needs.
LAUNCHER_SHARES := $(patsubst %,$(B)/obj/src/%.cpp.o,base/options base/print base/file base/sys trace/totals)
LAUNCHER_FLAGS := -std=c++20 -O2 -g -D_GNU_SOURCE $(WARNINGS) $(INCLUDES) $(DEFINES) \
  -DGOSHIM_MULTIARCH='"$(MULTIARCH)"'
LAUNCHER_LIBS := -ldw -lelf

PREFIX ?= /usr/local
LIBDIR ?= $(PREFIX)/lib
PACKAGING := VERSION=$(VERSION) MULTIARCH=$(MULTIARCH) DESTDIR=$(DESTDIR) PREFIX=$(PREFIX) LIBDIR=$(LIBDIR)

UNIT_SOURCES := $(wildcard tests/unit/*_test.cpp)
UNIT_TESTS := $(UNIT_SOURCES:tests/unit/%.cpp=%)
# A unit test whose first lines say `// sanitize: thread` (or `address`, or both) is built and run that way too.
TSAN_TESTS := $(if $(UNIT_SOURCES),$(patsubst tests/unit/%.cpp,%,$(shell grep -l '^// sanitize:.*thread' $(UNIT_SOURCES))))
ASAN_TESTS := $(if $(UNIT_SOURCES),$(patsubst tests/unit/%.cpp,%,$(shell grep -l '^// sanitize:.*address' $(UNIT_SOURCES))))
UNIT_PROGRAMS := $(UNIT_TESTS:%=$(B)/unit/%) \
  $(if $(CROSS),,$(TSAN_TESTS:%=$(B)/unit-thread/%) $(ASAN_TESTS:%=$(B)/unit-address/%))
# Debian has GoogleTest's libraries for this machine, and its source.
GTEST_SOURCE := /usr/src/googletest/googletest
GTEST := $(if $(CROSS),-I$(GTEST_SOURCE)/include $(B)/gtest.a,-lgtest -lgtest_main)

BEHAVIOUR_SOURCES := $(wildcard tests/behaviour/*.c tests/behaviour/*.cpp)
BEHAVIOUR_LIB_SOURCES := $(wildcard tests/behaviour/lib/*.c tests/behaviour/lib/*.cpp)
BEHAVIOUR_PROGRAMS := $(addprefix $(B)/behaviour/,$(basename $(notdir $(BEHAVIOUR_SOURCES))))
BEHAVIOUR_LIBS := $(patsubst %,$(B)/behaviour/lib%.so,$(basename $(notdir $(BEHAVIOUR_LIB_SOURCES))))

# ---- commands ----

.PHONY: lib launcher programs test symbols soak soak-io conformance viewers demo bench bench-check bench-scale lint format clean help deps
.PHONY: install uninstall deb need-deb need-lib need-test need-conformance need-viewers need-demo need-bench need-bench-scale need-lint
lib: $(LIB) $(LIB)-gdb.py $(if $(CROSS),,$(LAUNCHER))

launcher: $(LAUNCHER)

programs: $(UNIT_PROGRAMS) $(BEHAVIOUR_PROGRAMS) $(BEHAVIOUR_LIBS)

# A program that does not compile is one failed test, not the end of them.
# What is emulated is slow: fewer modes, and without the tests of tools and of this machine's libc.
test: lib $(if $(CROSS),,symbols) | need-test
	$(Q)$(MAKE) --no-print-directory --keep-going programs || true
	$(Q)tests/run --build $(B) $(if $(CROSS),--emulator '$(EMULATOR)' --no-tools --no-native --procs 2 --chaos "" --patience 4) $(TESTFLAGS)

symbols: | need-test
	$(Q)tests/symbols

soak: lib | need-test
	$(Q)$(MAKE) --no-print-directory programs
	$(Q)tests/run --build $(B) --soak $(TESTFLAGS)

# Connections: at least so many in all, so many at once, for so many seconds.
SOAK_CONNECTIONS ?= 10000 1000 600
soak-io: $(LIB) | need-test
	$(Q)$(MAKE) --no-print-directory $(B)/behaviour/io_soak
	$(Q)LD_PRELOAD=$(abspath $(LIB)) $(B)/behaviour/io_soak $(SOAK_CONNECTIONS)

conformance: $(LIB) | need-conformance
	$(Q)tests/conformance --build $(B) $(CONFORMANCEFLAGS)

# The timeline in viewers from npm.
viewers: lib | need-viewers
	$(Q)tests/viewers --build $(B)

demo: $(LIB) | need-demo
	$(Q)tests/demo --build $(B)

bench: $(LIB) $(B)/bench/bench $(B)/bench/echo_server $(B)/bench/echo_client $(B)/bench/twin $(B)/bench/trace_cost
	$(Q)bench/run --build $(B) $(BENCHFLAGS)

bench-scale: $(LIB) $(B)/bench/scale | need-bench-scale
	$(Q)bench/scale --build $(B) $(BENCHFLAGS)

bench-check: $(LIB) $(B)/bench/operations $(B)/bench/steps
	$(Q)bench/check --build $(B) $(BENCHFLAGS)

FORMATTED := $(wildcard arch/*.h arch/*/*.h arch/*/*.cpp src/*/*.h src/*/*.cpp interpose/*.h interpose/*.cpp \
  launcher/*.h launcher/*.cpp bench/*.h bench/*.cpp bench/twins/*.h bench/twins/*.cpp tests/unit/*.h tests/unit/*.cpp tests/behaviour/*.h tests/behaviour/*.c tests/behaviour/*.cpp \
  tests/behaviour/lib/*.c tests/behaviour/lib/*.cpp)
TIDIED := $(filter %.cpp,$(RUNTIME_SOURCES) $(INTERPOSE_SOURCES))
lint: $(TIDIED:%=$(B)/tidy/%) | need-lint
	$(Q)clang-format --dry-run -Werror $(FORMATTED)
	$(Q)! awk 'FNR == 1 || /clang-format on/ { off = 0 } /clang-format off/ { off = 1 } \
	  !off && length > 120 { print FILENAME ":" FNR ": longer than 120 columns"; bad = 1 } END { exit !bad }' $(FORMATTED)
	@echo "lint: $(words $(FORMATTED)) files formatted, $(words $(TIDIED)) files tidy"

# To PREFIX (/usr/local), with LIBDIR in it, under DESTDIR: packaging/install tells what and where.
install: $(LIB) $(LIB)-gdb.py $(LAUNCHER)
	$(Q)$(PACKAGING) packaging/install $(B)

uninstall:
	$(Q)$(PACKAGING) packaging/install --remove $(B)

deb: $(LIB) $(LIB)-gdb.py $(LAUNCHER) | need-deb
	$(Q)$(PACKAGING) packaging/deb $(B)

format: | need-lint
	$(Q)clang-format -i $(FORMATTED)

clean:
	rm -rf build build-*

help:
	@sed -n 's/^#   /  /p' Makefile
	@echo '  make test               unit and behaviour tests, natively and under goshim; TESTFLAGS="--only NAME --repeat 100"'
	@echo '  make soak               the behaviour tests in long loops; TESTFLAGS="--repeat 50 --for 600"'
	@echo '  make soak-io            connections by the thousand for ten minutes; SOAK_CONNECTIONS="10000 1000 600"'
	@echo '  make conformance        glibc'"'"'s own tests, natively and under goshim; CONFORMANCEFLAGS="--only REGEX --verbose"'
	@echo '  make viewers            the timeline in the viewer of chrome://tracing and in speedscope, both from npm'
	@echo '  make bench              natively, under goshim, in Go: one table; BENCHFLAGS="--only REGEX --svg FILE"'
	@echo '  make bench-scale        beside 10 to 1,000,000 threads; BENCHFLAGS="--svg FILE --most 100000"'
	@echo '  make bench-check        instructions and system calls of single operations, against bench/expected.json'
	@echo '  make demo               real programs natively and under goshim'
	@echo '  make install            to PREFIX (/usr/local), LIBDIR (PREFIX/lib), under DESTDIR; make uninstall'
	@echo '  make deb                a Debian package, in the build folder'
	@echo '  make lint | format      clang-format and clang-tidy; format rewrites'

# ---- packages: each command asks for its own, in Debian's names ----

COMPILER := $(if $(CXX_IS_CLANG),clang,g++)
deps: need-lib
need-lib:
	$(Q)tests/need $(if $(CROSS),g++-$(CROSS),$(COMPILER) libc6-dev libdw-dev nlohmann-json3-dev)
need-test: need-lib
	$(Q)tests/need python3 $(if $(UNIT_SOURCES),libgtest-dev) $(if $(CROSS),googletest qemu-user,mandoc dpkg-dev patchelf gdb)
need-conformance: need-lib
	$(Q)tests/need python3 gcc g++ glibc-source xz-utils
need-viewers: need-lib
	$(Q)tests/need python3 npm chromium
need-demo: need-lib
	$(Q)tests/need python3 xz-utils pigz sysbench
need-bench: need-lib
	$(Q)tests/need python3 libbenchmark-dev $(if $(findstring --svg,$(BENCHFLAGS)),gnuplot-nox)
	$(Q)tests/need golang-go || echo 'bench: without the Go twins'
need-bench-scale: need-lib
	$(Q)tests/need python3 gnuplot-nox
need-deb: need-lib
	$(Q)tests/need dpkg-dev
need-lint: need-lib
	$(Q)tests/need clang-format clang-tidy

# ---- the library ----

FLAGS_IN_USE = $(CXX) $(LIB_FLAGS) $(LIB_LINK) $(VERSION) / $(CC) $(TEST_FLAGS) $(TEST_C_FLAGS)
# Changes when the compiler or a flag does; every object hangs on it.
$(B)/flags: FORCE
	@mkdir -p $(@D)
	@echo '$(FLAGS_IN_USE)' | cmp -s - $@ || echo '$(FLAGS_IN_USE)' > $@
.PHONY: FORCE
FORCE:

$(B)/obj/%.o: % $(B)/flags | need-lib
	@mkdir -p $(@D)
	@$(if $(V),,echo "  $(CXX) $<")
	$(Q)$(CXX) $(if $(filter %.S,$<),$(INCLUDES) -g,$(LIB_FLAGS)) -MMD -MP -c -o $@ $<

$(LIB): $(RUNTIME_OBJECTS) $(INTERPOSE_OBJECTS) tests/rules
	@$(if $(V),,echo "  link $@")
	$(Q)$(CXX) $(LIB_LINK) -o $@.new $(RUNTIME_OBJECTS) $(INTERPOSE_OBJECTS) -lc -lgcc
	$(Q)tests/rules $(ARCH) $@.new $(RUNTIME_OBJECTS)
	$(Q)mv $@.new $@

# Where gdb looks for a library's script.
$(LIB)-gdb.py: arch/$(ARCH)/gdb.py launcher/goshim-gdb.py
	$(Q)mkdir -p $(@D) && cat $^ > $@

# ---- the launcher ----

$(B)/obj/launcher/%.o: launcher/% $(B)/flags | need-lib
	@mkdir -p $(@D)
	@$(if $(V),,echo "  $(CXX) $<")
	$(Q)$(CXX) $(LAUNCHER_FLAGS) -MMD -MP -c -o $@ $<

$(LAUNCHER): $(LAUNCHER_OBJECTS) $(LAUNCHER_SHARES)
	@$(if $(V),,echo "  link $@")
	$(Q)$(CXX) -o $@ $^ $(LAUNCHER_LIBS)

# ---- unit tests: GoogleTest, one program a file, linked with what it uses of the runtime ----

# An archive, so that a test may define a stand-in (a fake scheduler) for a part of the runtime.

define SANITIZED
$(B)/obj-$(1)/%.o: % $(B)/flags | need-test
	@mkdir -p $$(@D)
	@$(if $(V),,echo "  $(CXX) -fsanitize=$(1) $$<")
	$(Q)$(CXX) $$(if $$(filter %.S,$$<),$(INCLUDES) -g,$(LIB_FLAGS) -fsanitize=$(1) $(NO_TSAN_WARNING)) -MMD -MP -c -o $$@ $$<

$(B)/obj-$(1)/runtime.a: $(RUNTIME_SOURCES:%=$(B)/obj-$(1)/%.o)
	$(Q)rm -f $$@ && ar rcs $$@ $$^

$(B)/unit-$(1)/%: tests/unit/%.cpp $(B)/obj-$(1)/runtime.a
	@mkdir -p $$(@D)
	@$(if $(V),,echo "  $(CXX) -fsanitize=$(1) $$<")
	$(Q)$(CXX) $(TEST_FLAGS) $(INCLUDES) -fsanitize=$(1) $(NO_TSAN_WARNING) -MMD -MP -MF $$@.d -o $$@ $$< $(B)/obj-$(1)/runtime.a -lgtest -lgtest_main

.SECONDARY: $(RUNTIME_SOURCES:%=$(B)/obj-$(1)/%.o)
endef
$(eval $(call SANITIZED,thread))
$(eval $(call SANITIZED,address))

$(B)/obj/runtime.a: $(RUNTIME_OBJECTS)
	$(Q)rm -f $@ && ar rcs $@ $^

$(B)/unit/%: tests/unit/%.cpp $(B)/obj/runtime.a $(if $(CROSS),$(B)/gtest.a) | need-test
	@mkdir -p $(@D)
	@$(if $(V),,echo "  $(CXX) $<")
	$(Q)$(CXX) $(TEST_FLAGS) $(INCLUDES) -MMD -MP -MF $@.d -o $@ $< $(B)/obj/runtime.a $(GTEST)

$(B)/gtest.a: | need-test
	@mkdir -p $(@D)
	$(Q)for part in all _main; do \
	  $(CXX) -std=c++20 -O2 -I$(GTEST_SOURCE) -I$(GTEST_SOURCE)/include -c -o $@-$$part.o $(GTEST_SOURCE)/src/gtest[-_]$${part#_}.cc || exit; \
	done
	$(Q)rm -f $@ && ar rcs $@ $@-all.o $@-_main.o

# ---- behaviour tests: plain programs that know nothing of goshim; `// libs: a b` links them with -la -lb,
# `// flags: ...` are the compiler's too ----

LIBS_OF = $$(sed -n 's|^// libs:\(.*\)|\1|p' $< | tr ' ' '\n' | sed -n 's/..*/-l&/p')
FLAGS_OF = $$(sed -n 's|^// flags:\(.*\)|\1|p' $<)
BEHAVIOUR_LINK = -MMD -MP -MF $@.d -o $@ $(FLAGS_OF) $< -L$(B)/behaviour -Wl,-rpath,'$$ORIGIN' $(LIBS_OF) -Wl,--as-needed -lm

$(B)/behaviour/%: tests/behaviour/%.cpp $(B)/flags $(BEHAVIOUR_LIBS) | need-test
	@$(if $(V),,echo "  $(CXX) $<")
	$(Q)$(CXX) $(TEST_FLAGS) $(BEHAVIOUR_LINK)

$(B)/behaviour/%: tests/behaviour/%.c $(B)/flags $(BEHAVIOUR_LIBS) | need-test
	@$(if $(V),,echo "  $(CC) $<")
	$(Q)$(CC) $(TEST_C_FLAGS) $(BEHAVIOUR_LINK)

$(B)/behaviour/lib%.so: tests/behaviour/lib/%.cpp $(B)/flags | need-test
	@mkdir -p $(@D)
	@$(if $(V),,echo "  $(CXX) $<")
	$(Q)$(CXX) $(TEST_FLAGS) -Itests/behaviour -fPIC -shared -MMD -MP -MF $@.d -o $@ $<

$(B)/behaviour/lib%.so: tests/behaviour/lib/%.c $(B)/flags | need-test
	@mkdir -p $(@D)
	@$(if $(V),,echo "  $(CC) $<")
	$(Q)$(CC) $(TEST_C_FLAGS) -Itests/behaviour -fPIC -shared -MMD -MP -MF $@.d -o $@ $<

# ---- benchmarks and lint ----

$(B)/bench/%.o: bench/%.cpp $(B)/flags | need-bench
	@mkdir -p $(@D)
	@$(if $(V),,echo "  $(CXX) $<")
	$(Q)$(CXX) $(TEST_FLAGS) -MMD -MP -MF $(@:.o=.d) -c -o $@ $<

$(B)/bench/bench: $(patsubst bench/%.cpp,$(B)/bench/%.o,bench/bench.cpp $(wildcard bench/twins/*.cpp))
	$(Q)$(CXX) $(TEST_FLAGS) -o $@ $^ -lbenchmark

$(B)/bench/echo_%: bench/echo_%.cpp $(B)/flags | need-bench
	@mkdir -p $(@D)
	@$(if $(V),,echo "  $(CXX) $<")
	$(Q)$(CXX) $(TEST_FLAGS) -MMD -MP -MF $@.d -o $@ $<

$(B)/bench/trace_cost $(B)/bench/operations $(B)/bench/steps $(B)/bench/scale: $(B)/bench/%: bench/%.cpp $(B)/flags | need-bench
	@mkdir -p $(@D)
	@$(if $(V),,echo "  $(CXX) $<")
	$(Q)$(CXX) $(TEST_FLAGS) -MMD -MP -MF $@.d -o $@ $<

# The Go twins are left out where there is no Go.
$(B)/bench/twin: $(wildcard bench/go/*) | need-bench
	@mkdir -p $(@D)
	@$(if $(V),,echo "  go $(<D)")
	$(Q)! command -v go >/dev/null || GO111MODULE=off GOCACHE=$(abspath $(B))/go-cache go build -o $@ ./$(<D)

# One stamp a file, so that only what changed is looked at again.
$(B)/tidy/%: % .clang-tidy $(B)/obj/%.o | need-lint
	@mkdir -p $(@D)
	@$(if $(V),,echo "  clang-tidy $<")
	$(Q)clang-tidy --quiet --warnings-as-errors='*' $< -- $(LIB_FLAGS) 2>$@.log || { grep -v 'warnings generated' $@.log; exit 1; }
	@touch $@

-include $(RUNTIME_OBJECTS:.o=.d) $(INTERPOSE_OBJECTS:.o=.d) $(LAUNCHER_OBJECTS:.o=.d) $(wildcard $(B)/unit*/*.d $(B)/behaviour/*.d $(B)/bench/*.d $(B)/bench/twins/*.d)
-include $(foreach s,thread address,$(wildcard $(RUNTIME_SOURCES:%=$(B)/obj-$(s)/%.d)))
