"""Commands for gdb that show the threads of a program under goshim, which the kernel and gdb itself do not know.

    info goshim              the Ps, the kernel threads, and how many threads there are
    info gs [STATE]          all threads; or those that are running, syscall, runnable or waiting
    goshim g ID bt           the backtrace of a thread, whatever it does
    goshim g ID COMMAND      any command, in the innermost frame of that thread
    goshim apply all COMMAND the same for every thread

They work on a process and on a core file. gdb loads this file by itself with the library, or by `source`. What they read
are the structures of src/sched/runtime.h, by the library's debugging information; nothing in the process is changed, and
none of its code is run.

A thread that runs is shown by its kernel thread. Of another one the registers lie where goshim_switch() left them on its
stack; an unwinder tells gdb that these are the registers of the caller of the innermost frame, and the frames up to there
are left out of what is printed. One that was preempted lies there too: the frame in which the runtime interrupted it has
unwinding information that leads to the saved registers. Which registers that are is told by arch/NAME/gdb.py, which the
build puts in front of this file.
"""
import re
import struct

import gdb
import gdb.unwinder


class Trouble(gdb.GdbError):
    """What the user is told."""


class Layout:
    """Where the fields of a structure are, so that each structure is read in one piece."""

    SIZES = {1: "B", 2: "H", 4: "I", 8: "Q"}

    def __init__(self, type_name, *fields):
        try:
            self.type = gdb.lookup_type(type_name)
        except gdb.error:
            raise Trouble("goshim: the debugging information of libgoshim.so is missing") from None
        self.size = self.type.sizeof
        self.places = {}
        for path in fields:
            at, kind = 0, self.type
            for name in path.split("."):
                field = kind.strip_typedefs()[name]
                at, kind = at + field.bitpos // 8, field.type
            self.places[path] = (at, kind.strip_typedefs())

    def read(self, address):
        return Record(self, address, bytes(gdb.selected_inferior().read_memory(address, self.size)))


class Record:
    def __init__(self, layout, address, data):
        self.layout, self.address, self.data = layout, address, data

    def __getitem__(self, field):
        at, kind = self.layout.places[field]
        return struct.unpack_from("<" + Layout.SIZES[kind.sizeof], self.data, at)[0]

    def text(self, field):
        at, kind = self.layout.places[field]
        return self.data[at:at + kind.sizeof].split(b"\0")[0].decode(errors="replace")


class Runtime:
    """The runtime of the selected inferior, as it is now."""

    def __init__(self):
        if gdb.selected_inferior().pid == 0 or not gdb.selected_inferior().threads():
            raise Trouble("goshim: there is no process and no core file")
        if gdb.lookup_static_symbol("goshim::sched") is None and gdb.lookup_global_symbol("goshim::sched") is None:
            raise Trouble("goshim: libgoshim.so is not in this program, or its debugging information is missing")
        name = gdb.selected_inferior().architecture().name()
        if name != ARCHITECTURE:
            raise Trouble(f"goshim: these commands are for {ARCHITECTURE}, and this is {name}")
        self.G = Layout("goshim::G", "ctx.sp", "busy", "status", "m", "wait_reason", "locked_m", "id", "start", "all_link",
                        "name")
        self.M = Layout("goshim::M", "id", "tid", "curg", "g0", "p", "all_link", "locked_g", "park_word", "spinning")
        self.P = Layout("goshim::P", "id", "status", "m", "runq_head", "runq_tail", "runnext", "schedtick")
        self.states = self.names("goshim::GStatus")
        self.reasons = self.names("goshim::WaitReason")
        self.p_states = self.names("goshim::PStatus")
        sched = gdb.parse_and_eval("goshim::sched")
        kind = sched.type
        self.sched = Layout(kind.name, "procs", "ps", "limit", "active", "all_gs", "all_ms", "n_idle_p", "n_idle_m",
                            "n_spinning", "runq_size", "urgent_size").read(int(sched.address))
        if not self.sched["ps"]:
            raise Trouble("goshim: it has not started: the program has made no thread")
        self.ms = {m.address: m for m in self.walk(self.M, self.sched["all_ms"])}

    @staticmethod
    def names(enum):
        return {field.enumval: field.name.rpartition("::")[2] for field in gdb.lookup_type(enum).fields()}

    @staticmethod
    def walk(layout, address):
        while address:
            record = layout.read(address)
            yield record
            address = record["all_link"]

    def state(self, g):
        return self.states.get(g["status"], "?")

    def gs(self):
        """All threads that live, oldest first."""
        living = [g for g in self.walk(self.G, self.sched["all_gs"]) if g["id"] and self.state(g) != "Dead"]
        return sorted(living, key=lambda g: g["id"])

    def g(self, number):
        for g in self.gs():
            if g["id"] == number:
                return g
        raise Trouble(f"goshim: there is no thread {number}; `info gs` lists them")

    def ps(self):
        return [self.P.read(self.sched["ps"] + i * self.P.size) for i in range(self.sched["procs"])]

    def m_of(self, g):
        """The M whose registers are the thread's; None if they are on its stack."""
        return self.ms.get(g["m"]) if g["busy"] else None


def kernel_thread(tid):
    for thread in gdb.selected_inferior().threads():
        if thread.ptid[1] == tid:
            return thread
    raise Trouble(f"goshim: gdb does not see kernel thread {tid}")


class Parked(gdb.unwinder.Unwinder):
    """While a thread is chosen, its registers are those of the caller of the innermost frame."""

    class FrameId:
        def __init__(self, sp, pc):
            self.sp, self.pc = sp, pc

    def __init__(self):
        super().__init__("goshim")
        self.inner = None  # (sp, pc) of the kernel thread's innermost frame
        self.registers = {}

    def __call__(self, frame):
        if self.inner is None:
            return None
        sp, pc = frame.read_register(SP), frame.read_register(PC)
        if (int(sp), int(pc)) != self.inner:
            return None
        # Below the caller's frames: gdb believes in no stack that goes the other way.
        below = gdb.Value(self.registers[SP] - 8 * len(SWITCH_FRAME)).cast(gdb.lookup_type("long")).cast(sp.type)
        found = frame.create_unwind_info(Parked.FrameId(below, pc))
        number = gdb.lookup_type("unsigned long")
        for name, value in self.registers.items():
            kind = frame.read_register(name).type
            found.add_saved_register(name, gdb.Value(value).cast(number).cast(kind))
        return found

    def choose(self, sp):
        """The thread whose registers goshim_switch() has left at sp."""
        n = len(SWITCH_FRAME)
        words = struct.unpack(f"<{n}Q", bytes(gdb.selected_inferior().read_memory(sp, 8 * n)))
        inner = gdb.newest_frame()
        self.inner = (int(inner.read_register(SP)), int(inner.read_register(PC)))
        self.registers = {name: word for name, word in zip(SWITCH_FRAME, words) if name}
        self.registers[SP] = sp + 8 * n
        gdb.invalidate_cached_frames()

    def forget(self):
        self.inner = None
        gdb.invalidate_cached_frames()


parked = Parked()
gdb.unwinder.register_unwinder(None, parked, replace=True)


class Selected:
    """Within it, the innermost frame of a thread is the selected one. `left_out` frames come before it."""

    def __init__(self, runtime, g):
        self.runtime, self.g = runtime, g
        self.left_out = 0

    def __enter__(self):
        self.thread = gdb.selected_thread()
        try:
            self.frame = gdb.selected_frame().level()
        except gdb.error:
            self.frame = 0
        m = self.runtime.m_of(self.g)
        if m is not None:
            kernel_thread(m["tid"]).switch()
            gdb.newest_frame().select()
            return self
        sp = self.g["ctx.sp"]
        try:
            parked.choose(sp)
            frame = gdb.newest_frame()
            while frame is not None and int(frame.read_register(SP)) != sp + 8 * len(SWITCH_FRAME):
                frame = frame.older()
                self.left_out += 1
            if frame is None:
                raise Trouble(f"goshim: thread {self.g['id']}: its stack cannot be read")
            frame.select()
        except gdb.error as error:
            self.__exit__()
            raise Trouble(f"goshim: thread {self.g['id']}: {error}") from None
        return self

    def __exit__(self, *_):
        parked.forget()
        if self.thread is not None and self.thread.is_valid():
            self.thread.switch()
            frame = gdb.newest_frame()
            while frame is not None and frame.level() < self.frame:
                frame = frame.older()
            if frame is not None:
                frame.select()

    def run(self, command):
        word = command.split()[0]
        if self.left_out == 0 or word not in ("bt", "backtrace", "where"):
            gdb.execute(command)
            return
        count = re.search(r"\s(\d+)$", command)  # bt N: N of the thread's frames
        if count:
            command = f"{command[:count.start()]} {int(count[1]) + self.left_out}"
        text = gdb.execute(command, to_string=True)
        frames = re.split(r"^(?=#\d)", text, flags=re.M)[1:]
        for frame in frames[self.left_out:]:
            number, rest = re.match(r"#(\d+)(.*)", frame, re.S).groups()
            gdb.write(f"#{int(number) - self.left_out:<{len(number)}}{rest}")


def function_at(address):
    symbol = gdb.execute(f"info symbol {address:#x}", to_string=True) if address else ""
    return symbol.split(" in section")[0].split(" + ")[0] if " in section" in symbol else "?"


def headline(runtime, g):
    state = runtime.state(g).lower()
    if g["busy"] and g["m"] in runtime.ms:
        state += f" on kernel thread {runtime.ms[g['m']]['tid']}"
    elif state == "waiting":
        state += f" for {runtime.reasons.get(g['wait_reason'], '?').lower()}"
    name = g.text("name")
    return f"Thread {g['id']}{' (' + name + ')' if name else ''}: {state}"


class InfoGoshim(gdb.Command):
    """The scheduler of goshim: its Ps, its kernel threads, and how many threads there are."""

    def __init__(self):
        super().__init__("info goshim", gdb.COMMAND_STATUS)

    def invoke(self, argument, from_tty):
        runtime = Runtime()
        sched = runtime.sched
        counts = {}
        for g in runtime.gs():
            state = runtime.state(g).lower()
            counts[state] = counts.get(state, 0) + 1
        told = ", ".join(f"{n} {state}" for state, n in sorted(counts.items()))
        gdb.write(f"{sum(counts.values())} threads: {told}\n")
        gdb.write(f"{sched['limit']} Ps, {sched['n_idle_p']} idle; {len(runtime.ms)} kernel threads, {sched['n_idle_m']} idle, "
                  f"{sched['n_spinning']} looking for work; {sched['runq_size']} threads in the global queue\n")
        gdb.write(f"\n{'P':>4} {'state':<8} {'queue':>5} {'next':>7} {'kernel thread':>13}\n")
        for p in runtime.ps():
            queued = (p["runq_tail"] - p["runq_head"]) % 2**32
            after = p["runnext"] & ~1
            after = runtime.G.read(after)["id"] if after else ""
            m = runtime.ms.get(p["m"])
            gdb.write(f"{p['id']:>4} {runtime.p_states.get(p['status'], '?').lower():<8} {queued:>5} {after:>7} "
                      f"{m['tid'] if m else '':>13}\n")
        gdb.write(f"\n{'M':>4} {'kernel thread':>13} {'P':>3} {'runs':>7}  state\n")
        for m in sorted(runtime.ms.values(), key=lambda m: m["id"]):
            p = m["p"] & ~1
            p = runtime.P.read(p)["id"] if p else ""
            runs = m["curg"]
            runs = runtime.G.read(runs)["id"] if runs and runs != m["g0"] else ""
            state = "asleep" if m["park_word"] else "looks for work" if m["spinning"] else ""
            if m["locked_g"]:
                state += f"{', ' if state else ''}locked to thread {runtime.G.read(m['locked_g'])['id']}"
            gdb.write(f"{m['id']:>4} {m['tid']:>13} {p:>3} {runs:>7}  {state}".rstrip() + "\n")


class InfoGs(gdb.Command):
    """All threads of a program under goshim: info gs [running|syscall|runnable|waiting]

Their numbers, names, states, what they wait for or the kernel thread they are on, and the function they began with."""

    def __init__(self):
        super().__init__("info gs", gdb.COMMAND_STATUS)

    def invoke(self, argument, from_tty):
        runtime = Runtime()
        wanted = argument.strip().lower()
        if wanted and wanted not in (s.lower() for s in runtime.states.values()):
            raise Trouble(f"goshim: there is no state {wanted}")
        gdb.write(f"{'G':>7} {'name':<15} {'state':<9} {'waits for':<10} {'kernel thread':>13}  began with\n")
        starts = {}
        for g in runtime.gs():
            state = runtime.state(g).lower()
            if wanted and state != wanted:
                continue
            reason = runtime.reasons.get(g["wait_reason"], "?").lower() if state == "waiting" else ""
            m = runtime.m_of(g)
            start = g["start"]
            if start not in starts:
                starts[start] = function_at(start) if start else ""
            gdb.write(f"{g['id']:>7} {g.text('name'):<15} {state:<9} {reason:<10} {m['tid'] if m else '':>13}  "
                      f"{starts[start]}".rstrip() + "\n")

    def complete(self, text, word):
        return [s for s in ("running", "syscall", "runnable", "waiting") if s.startswith(word)]


class Goshim(gdb.Command):
    """Commands for programs under goshim."""

    def __init__(self):
        super().__init__("goshim", gdb.COMMAND_STACK, prefix=True)


class GoshimG(gdb.Command):
    """Runs a command in the innermost frame of a thread: goshim g ID COMMAND, mostly `goshim g ID bt`.

ID is its number in `info gs`. Thread-local variables are those of the kernel thread, which gdb takes them from."""

    def __init__(self):
        super().__init__("goshim g", gdb.COMMAND_STACK)

    def invoke(self, argument, from_tty):
        number, _, command = argument.strip().partition(" ")
        if not number.isdigit() or not command.strip():
            raise Trouble("usage: goshim g ID COMMAND")
        runtime = Runtime()
        with Selected(runtime, runtime.g(int(number))) as thread:
            thread.run(command.strip())


class GoshimApply(gdb.Command):
    """Runs a command in the innermost frame of every thread: goshim apply all COMMAND, mostly `goshim apply all bt`."""

    def __init__(self):
        super().__init__("goshim apply", gdb.COMMAND_STACK)

    def invoke(self, argument, from_tty):
        whom, _, command = argument.strip().partition(" ")
        if whom != "all" or not command.strip():
            raise Trouble("usage: goshim apply all COMMAND")
        runtime = Runtime()
        for g in runtime.gs():
            gdb.write(f"\n{headline(runtime, g)}\n")
            try:
                with Selected(runtime, g) as thread:
                    thread.run(command.strip())
            except gdb.error as error:
                gdb.write(f"{error}\n")
            except gdb.GdbError as error:
                gdb.write(f"{error}\n")


InfoGoshim()
InfoGs()
Goshim()
GoshimG()
GoshimApply()
