#!/usr/bin/env python3
"""Counts what the activation kernels execute for each element, in compiled sm_90 code, and holds it to budgets.

usage: scripts/instruction_count.py [--write | --print | --suggest] [--table FILE] [--exceptions FILE] [--registry FILE] PATH...

PATH is an object file, cubin or library with the kernels, or a build folder that has them. Without an option the counts are
checked: each within its budget or its line of instruction_exceptions.csv, and equal to the committed table (docs/instructions.md).
--write writes the table, --print prints the counts, --suggest prints the lines that instruction_exceptions.csv lacks, but for the
reason. Needs cuobjdump and nvdisasm (CUDA toolkit, PyPI's nvidia-cuda-cuobjdump
and nvidia-cuda-nvdisasm, or Triton) and c++filt. Exit status: 0; 1 = a check failed; 2 = bad arguments; 77 = nothing to count with.

How it counts. The instructions on the way of a thread in the middle of a large tensor, where whole packets are loaded and stored
(loops once), less those of identity's kernel, which is the copy, of the same operation and dtype; divided by the elements that it
stores. Every branch of the function is taken the long way (in `shortest` the short way); only what reads tables from memory is
left out.
"""
import argparse
import collections
import csv
import glob
import os
import re
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ARCHITECTURE = "sm_90"
SKIP = 77

# ---------------------------------------------------------------- which kernels: adapt these to the engine


class Operation:
    def __init__(self, functor, outputs, streams):
        self.functor, self.outputs, self.streams = functor, outputs, streams


# Functor of the kernels, tensors that it writes, tensors that it reads and writes.
OPERATIONS = {
    "forward": Operation("Forward", 1, 2),
    "backward": Operation("Backward", 1, 3),
    "jvp": Operation("Jvp", 2, 4),
    "backward_of_backward": Operation("BackwardOfBackward", 2, 5),
}
DTYPES = {"f32": ("float", 4), "f64": ("double", 8), "f16": ("actium::f16", 2), "bf16": ("actium::bf16", 2)}
# void actium::kernels::elementwise_kernel<actium::kernels::Jvp<(actium::ActivationKind)9, float>, float, 2, 2>(...)
KERNEL = re.compile(
    r"elementwise_kernel<actium::kernels::(?P<functor>\w+)<\(actium::ActivationKind\)(?P<kind>\d+), (?P<compute>[\w:]+)>, "
    r"(?P<dtype>[\w:]+)(, \d+)*>")


def identify(demangled):
    """(operation, dtype, kind's number) of a plain activation kernel; None for every other function."""
    match = KERNEL.search(demangled)
    if not match:
        return None
    operation = next((o for o, v in OPERATIONS.items() if v.functor == match["functor"]), None)
    dtype = next((d for d, v in DTYPES.items() if v[0] == match["dtype"]), None)
    return (operation, dtype, int(match["kind"])) if operation and dtype else None


# ---------------------------------------------------------------- budgets


def budget(operation, dtype):
    """(instructions, special-function operations) an element that memory leaves time for; None for f64.

    H200: 132 SM at 1.98 GHz, each 128 instructions and 16 special-function results a cycle; 4.3 TB/s.
    """
    if dtype == "f64":
        return None
    seconds = OPERATIONS[operation].streams * DTYPES[dtype][1] / 4.3e12
    return int(seconds * 132 * 1.98e9 * 128), round(seconds * 132 * 1.98e9 * 16, 1)


# ---------------------------------------------------------------- disassembly

FP32 = {"FFMA", "FADD", "FMUL", "FFMA32I", "FADD32I", "FMUL32I"}
FP64 = {"DFMA", "DADD", "DMUL", "DSETP", "DMNMX"}
# Conversions run in the special-function unit too.
MUFU = {"MUFU", "F2F", "F2I", "I2F", "FRND", "I2I"}
ALU = {"FMNMX", "FSETP", "FSEL", "FSET", "LOP3", "PLOP3", "SHF", "SHL", "SHR", "IADD3", "IADD", "VIADD", "IABS", "IMNMX", "VIMNMX",
       "LEA", "ISETP", "SEL", "PRMT", "MOV", "BMSK", "FCHK", "F2FP", "P2R", "R2P", "POPC", "FLO", "SGXT", "LOP", "VABSDIFF"}
CLASSES = ["fp32", "alu", "mufu", "fp64", "other"]
LINE = re.compile(r"^\s+/\*([0-9a-f]{4,})\*/\s+(?:(@!?U?P\w+)\s+)?([A-Z][\w.]*)\s*(.*?)\s*;")


def instruction_class(opcode):
    base = opcode.split(".")[0]
    for name, members in (("fp32", FP32), ("alu", ALU), ("mufu", MUFU), ("fp64", FP64)):
        if base in members:
            return name
    return "other"


class Instruction:
    __slots__ = ("address", "predicated", "opcode", "operands")

    def __init__(self, address, predicate, opcode, operands):
        self.address, self.opcode, self.operands = address, opcode, operands
        self.predicated = predicate is not None and predicate != "@PT"

    def width(self):
        """Bytes a thread moves to or from global memory: 0 where it is another instruction."""
        parts = self.opcode.split(".")
        if parts[0] not in ("LDG", "STG"):
            return 0
        for part, size in (("256", 32), ("128", 16), ("64", 8), ("U8", 1), ("S8", 1), ("U16", 2), ("S16", 2)):
            if part in parts:
                return size
        return 4

    def target(self):
        found = re.search(r"0x([0-9a-f]+)\)?$", self.operands)
        return int(found[1], 16) if found else None


class Block:
    def __init__(self):
        self.instructions, self.successors = [], []


def basic_blocks(instructions):
    """{address: Block}, the first being the entry. A call counts as one instruction."""
    jumps = {"BRA", "JMP", "EXIT", "RET", "BRX", "JMX"}
    kind = {i.address: i.opcode.split(".")[0] for i in instructions}
    starts = {instructions[0].address}
    for at, i in enumerate(instructions):
        if kind[i.address] in jumps:
            if at + 1 < len(instructions):
                starts.add(instructions[at + 1].address)
            if kind[i.address] in ("BRA", "JMP"):
                starts.add(i.target())
    blocks = {}
    for at, i in enumerate(instructions):
        if i.address in starts:
            block = blocks[i.address] = Block()
        block.instructions.append(i)
        following = instructions[at + 1].address if at + 1 < len(instructions) else None
        if kind[i.address] in jumps:
            conditional = i.predicated
            if kind[i.address] in ("BRA", "JMP"):
                block.successors.append(i.target())
                conditional |= "," in i.operands  # BRA.U UP0, 0x..., BRA.DIV UR4, 0x...
            elif kind[i.address] in ("BRX", "JMX"):
                raise ValueError("an indirect jump")
            if conditional and following is not None:
                block.successors.append(following)
        elif following in starts:
            block.successors.append(following)
    return blocks


def without_back_edges(blocks):
    """Blocks in topological order and the successors that remain when each loop runs once."""
    order, state, forward = [], {}, collections.defaultdict(list)
    stack = [(next(iter(blocks)), None)]
    while stack:
        address, successors = stack.pop()
        if successors is None:
            if address in state:
                continue
            state[address] = "open"
            successors = iter(blocks[address].successors)
        for successor in successors:
            if state.get(successor) == "open":
                continue  # a loop's
            forward[address].append(successor)
            if successor not in state:
                stack += [(address, successors), (successor, None)]
                break
        else:
            state[address] = "done"
            order.append(address)
    return order[::-1], forward


class Count:
    """What a path costs: instructions by class, bytes stored by whole packets, conditional branches."""

    def __init__(self, instructions, packet):
        self.classes = collections.Counter(instruction_class(i.opcode) for i in instructions if i.opcode != "NOP")
        self.stored = sum(i.width() for i in instructions if i.opcode.startswith("STG") and i.width() == packet)
        self.branches = sum(i.opcode.split(".")[0] == "CALL" or i.opcode.split(".")[0] == "BRA" and
                            (i.predicated or "," in i.operands) for i in instructions)
        self.total = sum(self.classes.values())


def paths(instructions):
    """(longest, shortest) Count from the entry to the exit through the whole packets.

    The shortest is that of the paths which store the most bytes by whole packets: the way of a thread in the middle of a large
    tensor. The longest goes the same way, past the same loads and stores, with every other branch taken the long way.
    """
    packet = max(i.width() for i in instructions if i.opcode.startswith("STG"))
    load = max((i.width() for i in instructions if i.opcode.startswith("LDG")), default=0)
    blocks = basic_blocks(instructions)
    order, forward = without_back_edges(blocks)
    length = {a: sum(i.opcode != "NOP" for i in blocks[a].instructions) for a in order}
    stored = {a: sum(i.width() for i in blocks[a].instructions if i.opcode.startswith("STG") and i.width() == packet)
              for a in order}
    memory = {a for a in order if any(i.width() for i in blocks[a].instructions)}
    # Moves single elements, and not as the unaligned alternative of a packet.
    edges = {a for a in memory if any(not i.predicated and 0 < i.width() < (packet if i.opcode.startswith("STG") else load)
                                      for i in blocks[a].instructions)}

    def best_path(better, forbidden):
        best = {order[0]: {stored[order[0]]: (length[order[0]], [order[0]])}}  # block -> bytes -> (instructions, path)
        ends = {}
        for a in order:
            for total, (count, path) in best.get(a, {}).items():
                if blocks[a].instructions[-1].opcode.split(".")[0] in ("EXIT", "RET"):  # a path ends where a thread may leave
                    ends[total] = better(ends.get(total, (count, path)), (count, path))
                for s in forward[a]:
                    if s not in forbidden:
                        candidate = (count + length[s], path + [s])
                        known = best.setdefault(s, {})
                        known[total + stored[s]] = better(known.get(total + stored[s], candidate), candidate)
        if max(ends, default=0) == 0:
            raise ValueError("no path stores whole packets")
        return ends[max(ends)][1]

    shortest = best_path(min, edges)
    longest = best_path(max, edges | memory - set(shortest))
    return [Count([i for a in path for i in blocks[a].instructions], packet) for path in (longest, shortest)]


def find_tool(name):
    """cuobjdump or nvdisasm: on PATH, beside nvcc, or of a Python package; None where there is none."""
    folders = [os.environ.get("ACTIUM_DISASSEMBLER", "")]
    folders += os.environ.get("PATH", "").split(os.pathsep)
    if "ACTIUM_DISASSEMBLER" not in os.environ:
        nvcc = os.environ.get("CUDACXX") or shutil.which("nvcc")
        folders += [os.path.dirname(os.path.realpath(nvcc))] if nvcc else []
        folders += [os.path.join(os.environ.get("CUDA_PATH", "/usr/local/cuda"), "bin")]
        cache = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "actium")
        packages = [p for p in sys.path if os.path.isdir(p)] + glob.glob(f"{cache}/*/lib/python3*/site-packages")
        for package in packages:
            folders += glob.glob(f"{package}/nvidia/*/bin") + [f"{package}/triton/backends/nvidia/bin"]
    return shutil.which(name, path=os.pathsep.join(f for f in folders if f))


def disassemble(cuobjdump, nvdisasm, file):
    """Yields (mangled name, registers, lines) of each function."""
    environment = dict(os.environ)
    environment["PATH"] = os.path.dirname(nvdisasm) + os.pathsep + environment.get("PATH", "")

    def run(*options):
        return subprocess.run([cuobjdump, *options, file], env=environment, capture_output=True, text=True, check=True).stdout

    registers = dict(re.findall(r"Function (\S+?):\s*\n?\s*REG:(\d+)", run("-res-usage", "-arch", ARCHITECTURE)))
    name, lines = None, []
    for line in run("-sass", "-arch", ARCHITECTURE).splitlines():
        header = re.match(r"\s*Function : (\S+)", line)
        if header:
            if name:
                yield name, int(registers.get(name, 0)), lines
            name, lines = header[1], []
        elif "*/" in line:
            lines.append(line)
    if name:
        yield name, int(registers.get(name, 0)), lines


def device_code(file):
    with open(file, "rb") as stream:
        content = stream.read()
    cubin = content[:4] == b"\x7fELF" and content[18:20] == b"\xbe\0"
    return cubin or b".nv_fatbin" in content


def compiler_version(file):
    """nvcc's, which the compiled code names; '' where it does not."""
    with open(file, "rb") as stream:
        found = re.search(rb"Cuda compilation tools, release [\d.]+, V([\d.]+)", stream.read())
    return found[1].decode() if found else ""


# ---------------------------------------------------------------- counting everything


def objects(paths_given):
    """The files with code for GPUs among those given; of a build folder the objects of kernels/elementwise."""
    files = []
    for path in paths_given:
        if os.path.isdir(path):
            found = glob.glob(f"{path}/CMakeFiles/actium.dir/kernels/elementwise/*.o")
            files += sorted(found or glob.glob(f"{path}/*.o") + glob.glob(f"{path}/*.cubin"))
        else:
            files.append(path)
    return [f for f in files if device_code(f)]


def read_registry(file):
    with open(file) as stream:
        return re.findall(r"^ACTIUM_ACTIVATION\((\w+),", stream.read(), re.MULTILINE)


def count_files(cuobjdump, nvdisasm, files, kinds):
    """{(operation, dtype, kind): row}"""
    functions = {}
    for file in files:
        found = list(disassemble(cuobjdump, nvdisasm, file))
        names = subprocess.run(["c++filt"], input="\n".join(f[0] for f in found), capture_output=True, text=True,
                               check=True).stdout.splitlines()
        for (_, registers, lines), demangled in zip(found, names):
            key = identify(demangled)
            if key is None:
                continue
            operation, dtype, kind = key
            if kind >= len(kinds):
                sys.exit(f"{file}: kind {kind} is not in the registry: built from other sources?")
            if (operation, dtype, kinds[kind]) in functions:
                sys.exit(f"two kernels for {operation} {dtype} {kinds[kind]}, the second in {file}: {demangled}")
            instructions = [Instruction(int(m[1], 16), m[2], m[3], m[4]) for m in map(LINE.match, lines) if m]
            try:
                functions[operation, dtype, kinds[kind]] = (registers, *paths(instructions))
            except ValueError as error:
                sys.exit(f"{file}: {demangled}: {error}")
    rows = {}
    for key, (registers, longest, shortest) in functions.items():
        operation, dtype, _ = key
        if (operation, dtype, "identity") not in functions:
            sys.exit(f"no kernel of identity for {operation} {dtype}: nothing to subtract")
        _, copy, short_copy = functions[operation, dtype, "identity"]
        bytes_an_element = OPERATIONS[operation].outputs * DTYPES[dtype][1]

        def an_element(count, base, select):
            return (select(count) / count.stored - select(base) / base.stored) * bytes_an_element

        row = {c: an_element(longest, copy, lambda n, c=c: n.classes[c]) for c in CLASSES}
        row["instr"] = an_element(longest, copy, lambda n: n.total)
        row["shortest"] = an_element(shortest, short_copy, lambda n: n.total)
        row["branches"] = max(longest.branches - copy.branches, 0)
        row["registers"] = registers
        row["copy"] = copy.total / copy.stored * bytes_an_element
        rows[key] = row
    return rows


def read_exceptions(file):
    """{(operation, dtype, kind): (instructions, special-function operations, reason)}"""
    with open(file, newline="") as stream:
        lines = csv.DictReader(line for line in stream if not line.startswith("#"))
        return {(e["op"], e["dtype"], e["kind"]): (float(e["instr"]), float(e["mufu"]), e["why"].strip()) for e in lines}


def over_budget(operation, dtype, row):
    limits = budget(operation, dtype)
    return limits is not None and (row["instr"] > limits[0] or row["mufu"] > limits[1] + 0.05)


def check_budgets(rows, exceptions):
    problems = []
    for (operation, dtype, kind), row in rows.items():
        limits = budget(operation, dtype)
        name = f"{kind} {operation} {dtype}"
        exception = exceptions.get((operation, dtype, kind))
        over = over_budget(operation, dtype, row)
        if exception and not over:
            problems.append(f"{name}: {row['instr']:.1f} instructions are within the budget: its exception can go")
        elif exception and not exception[2]:
            problems.append(f"{name}: its exception gives no reason")
        elif exception and (row["instr"] > exception[0] or row["mufu"] > exception[1] + 0.05):
            problems.append(f"{name}: {row['instr']:.1f} instructions, {row['mufu']:.1f} special-function operations: its "
                            f"exception allows {exception[0]:g} and {exception[1]:g}")
        elif over and not exception:
            problems.append(f"{name}: {row['instr']:.1f} instructions, {row['mufu']:.1f} special-function operations: the "
                            f"budget is {limits[0]} and {limits[1]:g}")
    problems += [f"exception for {' '.join(key)}: no such kernel" for key in exceptions if key not in rows]
    return problems


# ---------------------------------------------------------------- the table

COLUMNS = ["instr", *CLASSES, "shortest", "branches", "registers"]


def sections(rows):
    """[(operation, dtype)] in the table's order"""
    return [(o, d) for o in OPERATIONS for d in DTYPES if any(k[:2] == (o, d) for k in rows)]


def row_text(row):
    return [f"{row[c]:.1f}" if c not in ("branches", "registers") else f"{row[c]}" for c in COLUMNS]


def format_table(rows, kinds, exceptions, version):
    text = f"""# Instructions per element

Written by `scripts/instruction_count.py --write BUILD_FOLDER`; the CTest entry `instructions` holds it equal to the compiled code.
Compiled by nvcc {version} for {ARCHITECTURE}.

A count is the instructions on the way of a thread in the middle of a large tensor, where whole packets are loaded and stored, less
those of `identity`, which is the copy, of the same operation and dtype, divided by the thread's elements. Every branch of the
function is taken the long way, in `shortest` the short way; only what reads tables from memory is left out (the reduction of
large arguments of `sine` and `snake`). `mufu` has the special-function unit's operations, conversions included;
`alu` the compares, selections, shifts and logic, which run at half the rate of `fp32`. `branches` are the conditional ones that the
copy does not have.

The budget is what an H200 (132 SM at 1.98 GHz, 128 instructions and 16 special-function results a cycle and SM) issues while
4.3 TB/s move the operation's bytes. A kind above it has a line in
[instruction_exceptions.csv](../scripts/instruction_exceptions.csv) with its ceiling and the reason, or the test fails. f64 has
no budget: it is reported.
"""
    for operation, dtype in sections(rows):
        limits = budget(operation, dtype)
        said = f"budget {limits[0]} instructions, {limits[1]:g} mufu" if limits else "no budget"
        copy = next(r["copy"] for k, r in rows.items() if k[:2] == (operation, dtype))
        text += f"\n## {operation}, {dtype}: {said}\n\nThe copy itself: {copy:.1f} instructions an element.\n\n"
        text += "| kind | " + " | ".join(COLUMNS) + " |\n|---|" + "---:|" * len(COLUMNS) + "\n"
        reasons = []
        for kind in kinds:
            if (operation, dtype, kind) in rows:
                text += f"| {kind} | " + " | ".join(row_text(rows[operation, dtype, kind])) + " |\n"
                if (operation, dtype, kind) in exceptions:
                    reasons.append(f"{kind}: above the budget: {exceptions[operation, dtype, kind][2]}")
        text += "\n" + "\n".join(f"* {r}" for r in reasons) + "\n" if reasons else ""
    return text


def read_table(text):
    """(compiler version, {(operation, dtype, kind): {column: number}})"""
    version = re.search(r"^Compiled by nvcc (\S*) for", text, re.MULTILINE)
    rows, section = {}, None
    for line in text.splitlines():
        header = re.match(r"## (\w+), (\w+):", line)
        if header:
            section = (header[1], header[2])
        elif line.startswith("| ") and section and not line.startswith("| kind"):
            cells = [c.strip() for c in line.strip("|").split("|")]
            rows[(*section, cells[0])] = dict(zip(COLUMNS, map(float, cells[1:])))
    return version[1] if version else "", rows


def check_table(rows, version, text):
    """Problems of the committed table; the counts are compared where the compiler is the same."""
    written_version, written = read_table(text)
    problems = [f"the table has no row for {' '.join(k)}" for k in rows if k not in written]
    problems += [f"the table's row {' '.join(k)} has no kernel" for k in written if k not in rows]
    if written_version != version:
        print(f"instructions: compiled by nvcc {version}, the table by {written_version}: the counts are not compared")
        return problems
    for key in rows.keys() & written.keys():
        for column in ("instr", "mufu", "shortest"):
            is_, was = rows[key][column], written[key][column]
            if abs(is_ - was) > 0.5 + 0.02 * abs(was):
                problems.append(f"{' '.join(key)}: {column} {is_:.1f}, in the table {was:.1f}")
    return problems


def main():
    parser = argparse.ArgumentParser(usage=__doc__.split("usage: ")[1].split("\n")[0])
    parser.add_argument("paths", nargs="+", metavar="PATH")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--print", action="store_true", dest="show")
    parser.add_argument("--suggest", action="store_true")
    parser.add_argument("--table", default=f"{ROOT}/docs/instructions.md")
    parser.add_argument("--exceptions", default=f"{ROOT}/scripts/instruction_exceptions.csv")
    parser.add_argument("--registry", default=f"{ROOT}/include/actium/activations.def")
    options = parser.parse_args()

    files = objects(options.paths)
    tools = {name: find_tool(name) for name in ("cuobjdump", "nvdisasm", "c++filt")}
    missing = [name for name, path in tools.items() if path is None]
    if not files or missing:
        print("instructions: skipped: " + ("no objects that nvcc built" if not files else f"no {' and no '.join(missing)} found"))
        return SKIP
    kinds = read_registry(options.registry)
    rows = count_files(tools["cuobjdump"], tools["nvdisasm"], files, kinds)
    version = next((v for v in map(compiler_version, files) if v), "unknown")
    if not rows:
        print(f"instructions: skipped: no activation kernel for {ARCHITECTURE} in {' '.join(options.paths)}")
        return SKIP
    exceptions = read_exceptions(options.exceptions)
    if options.show:
        for operation, dtype in sections(rows):
            for kind in kinds:
                if (operation, dtype, kind) in rows:
                    row = rows[operation, dtype, kind]
                    print(f"{operation:<21}{dtype:<5}{kind:<16}", " ".join(f"{c} {t}" for c, t in zip(COLUMNS, row_text(row))))
        return 0

    if options.suggest:
        for (operation, dtype, kind), row in rows.items():
            if over_budget(operation, dtype, row) and (operation, dtype, kind) not in exceptions:
                print(f"{kind},{operation},{dtype},{row['instr'] + 1:.0f},{row['mufu']:.1f},")
        return 0

    problems = [f"no kernel for {operation} {dtype} {kind}" for operation, dtype in sections(rows) for kind in kinds
                if (operation, dtype, kind) not in rows]
    problems += [f"no kernel for any {operation} {dtype}" for operation in ("forward", "backward") for dtype in DTYPES
                 if (operation, dtype) not in sections(rows)]
    problems += check_budgets(rows, exceptions)
    if options.write:
        with open(options.table, "w") as stream:
            stream.write(format_table(rows, kinds, exceptions, version))
    elif os.path.exists(options.table):
        with open(options.table) as stream:
            stale = check_table(rows, version, stream.read())
        problems += stale + ["run scripts/instruction_count.py --write on the build folder"] * bool(stale)
    else:
        problems.append(f"{options.table} is missing: --write makes it")
    for problem in problems:
        print(f"instructions: {problem}")
    print(f"instructions: {len(rows)} kernels, {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
