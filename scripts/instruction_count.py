#!/usr/bin/env python3
"""Counts what the activation kernels execute for each element, in compiled sm_90 code, and holds it to budgets.

usage: scripts/instruction_count.py [--write | --print | --suggest] [--table FILE] [--exceptions FILE] [--registry FILE]
       PATH...

PATH is an object file, cubin or library with the kernels, or a build folder that has them. Without an option the counts are
checked: each within its budget or its line of instruction_exceptions.csv, and equal to the committed table (docs/instructions.md).
--write writes the table, --print prints the counts, --suggest prints the lines that instruction_exceptions.csv should have, with
the reasons that it has. Needs cuobjdump and nvdisasm (CUDA toolkit, PyPI's nvidia-cuda-cuobjdump
and nvidia-cuda-nvdisasm, or Triton) and c++filt. Exit status: 0; 1 = a check failed; 2 = bad arguments; 77 = nothing to count with.

What is counted: everything that a thread in the middle of a large tensor executes, loads, stores and conversions included, divided
by its elements. docs/instructions.md says how; instruction_paths.py has the way through the code.
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

from instruction_paths import (ARCHITECTURE, CLASSES, compiler_version, device_code, disassemble, loop_paths, parse,
                               straight_paths)

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SKIP = 77

# ---------------------------------------------------------------- which kernels: adapt these to the engine


class Operation:
    """Its kernels' names, the tensors that it reads and writes, and whether its kernels walk a matrix in a loop."""

    def __init__(self, kernel, reads, writes, walks=False):
        self.kernel, self.reads, self.writes, self.walks = kernel, reads, writes, walks


# void actium::kernels::elementwise_kernel<actium::kernels::Jvp<(actium::ActivationKind)9, float>, float, 2, 2>(...)
# void actium::kernels::fused_forward_kernel<(actium::ActivationKind)9, float, true>(...)
OPERATIONS = {
    "forward": Operation("elementwise_kernel<actium::kernels::Forward", 1, 1),
    "backward": Operation("elementwise_kernel<actium::kernels::Backward", 2, 1),
    "jvp": Operation("elementwise_kernel<actium::kernels::Jvp", 2, 2),
    "backward_of_backward": Operation("elementwise_kernel<actium::kernels::BackwardOfBackward", 3, 2),
    "forward_many": Operation("forward_many_kernel", 1, 1),
    "fused_forward": Operation("fused_forward_kernel", 1, 1, walks=True),
    "fused_backward": Operation("fused_backward_kernel", 2, 1, walks=True),
    "parameter_gradient": Operation("parameter_gradient_kernel", 2, 0, walks=True),
}
# Of the kernels that walk, as kernels/plan.hpp has them: elements that a thread takes at a time (kGroup), bytes of each input that it
# keeps in shared memory before (kWalkBatchBytes), and inputs that there may be (kWalkInputs).
GROUP, BATCH_BYTES, INPUTS = 4, 64, 2
# Kinds that run another's kernels, as kernel_kind() of kernels/elementwise/parameters.cuh says.
RUNS = {"prelu": "leaky_relu"}
BYTES = {"f32": 4, "f64": 8, "f16": 2, "bf16": 2, "16-bit": 2}
KERNEL = re.compile(r"(?P<kernel>\w+_kernel<(?:[\w:]+<)?)\(actium::ActivationKind\)(?P<kind>\d+), (?P<type>[\w:]+)(?:, (?P<narrow>true|false))?")


def identify(demangled):
    """[(operation, dtype, kind's number)] of an activation kernel; [] for every other function. One that takes every type
    counts for each."""
    match = KERNEL.search(demangled)
    operation = match and next((o for o, v in OPERATIONS.items() if match["kernel"] == v.kernel + "<"), None)
    if not operation:
        return []
    dtypes = {"float": ["f32"], "double": ["f64"], "actium::f16": ["f16"], "actium::bf16": ["bf16"]}.get(match["type"], [])
    if dtypes == ["f32"] and match["narrow"] == "true":
        dtypes = ["16-bit"]
    elif dtypes == ["f32"] and operation == "parameter_gradient":
        dtypes = ["f32", "16-bit"]
    return [(operation, d, int(match["kind"])) for d in dtypes]


def dtypes_of(operation):
    return ["f32", "f64", "16-bit"] if OPERATIONS[operation].walks else ["f32", "f64", "f16", "bf16"]


# ---------------------------------------------------------------- budgets


def budget(operation, dtype):
    """(instructions, special-function operations) an element that memory leaves time for; None for f64.

    H200: 132 SM at 1.98 GHz, each 128 instructions and 16 special-function results a cycle; 4.3 TB/s.
    """
    if dtype == "f64":
        return None
    seconds = (OPERATIONS[operation].reads + OPERATIONS[operation].writes) * BYTES[dtype] / 4.3e12
    return int(seconds * 132 * 1.98e9 * 128), round(seconds * 132 * 1.98e9 * 16, 1)


# ---------------------------------------------------------------- counting everything


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


def forms_for_16_bits():
    """The kinds that have an Op16 of their own."""
    found = set()
    for file in glob.glob(f"{ROOT}/include/actium/device/ops/*.cuh"):
        with open(file) as stream:
            found |= set(re.findall(r"^struct Op16<ActivationKind::(\w+)>", stream.read(), re.MULTILINE))
    return found


def count_kernel(key, lines):
    """(longest or busiest, shortest) Count"""
    operation, dtype, _ = key
    op, instructions = OPERATIONS[operation], parse(lines)
    if op.walks:
        return loop_paths(instructions, BYTES[dtype], op.reads, op.writes, GROUP, BATCH_BYTES, INPUTS)
    return straight_paths(instructions, BYTES[dtype], op.writes)


def count_files(tools, files, kinds):
    """({(operation, dtype, kind): row}, problems)"""
    kernels, counts, problems = {}, {}, []
    for file in files:
        found = list(disassemble(tools["cuobjdump"], tools["nvdisasm"], file))
        names = subprocess.run(["c++filt"], input="\n".join(f[0] for f in found), capture_output=True, text=True,
                               check=True).stdout.splitlines()
        for (_, registers, lines), demangled in zip(found, names):
            for operation, dtype, kind in identify(demangled):
                if kind >= len(kinds):
                    sys.exit(f"{file}: kind {kind} is not in the registry: built from other sources?")
                key = (operation, dtype, kinds[kind])
                if key in kernels:
                    sys.exit(f"two kernels for {' '.join(key)}, the second in {file}: {demangled}")
                kernels[key] = (registers, lines)
    # Without a form of its own for 16 bits a kind has one kernel that walks, for f32 too.
    forms = forms_for_16_bits()
    narrow = {operation for operation, dtype, _ in kernels if dtype == "16-bit"}
    for (operation, dtype, kind), kernel in list(kernels.items()):
        if dtype == "f32" and operation in narrow and kind not in forms:
            kernels.setdefault((operation, "16-bit", kind), kernel)
    for key, (registers, lines) in kernels.items():
        try:
            counts[key] = (registers, *count_kernel(key, lines))
        except ValueError as error:
            problems.append(f"{' '.join(key)} cannot be counted: {error}")
    rows = {}
    for key, (registers, longest, shortest) in counts.items():
        if key[0] == "parameter_gradient":  # no options
            row = {"instr": longest.each(), **{c: longest.each(c) for c in CLASSES}}
        elif OPERATIONS[key[0]].walks:
            # The kernel with the least to do says what the loop takes without options; each, what its function adds.
            least = min((k for k in counts if k[:2] == key[:2]), key=lambda k: (k[2] != "identity", counts[k][1].each()))
            _, base, bare = counts[least]
            row = {c: bare.each(c) + longest.each(c) - base.each(c) for c in CLASSES}
            row["instr"] = bare.each() + longest.each() - base.each()
        else:
            row = {c: longest.each(c) for c in CLASSES}
            row.update(instr=longest.each(), shortest=shortest.each(), branches=longest.branches)
        row["registers"] = registers
        rows[key] = row
    return rows, problems


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


def suggest(rows, exceptions):
    """Prints the lines that instruction_exceptions.csv should have: its own where they serve, new ones without a reason."""
    out = csv.writer(sys.stdout, lineterminator="\n")
    for (operation, dtype, kind), row in sorted(rows.items(), key=lambda r: (list(OPERATIONS).index(r[0][0]), *r[0][1:])):
        if over_budget(operation, dtype, row):
            instr, mufu, why = exceptions.get((operation, dtype, kind), (0, 0, ""))
            if row["instr"] > instr or row["mufu"] > mufu + 0.05 or row["instr"] < 0.9 * instr:
                instr, mufu = int(row["instr"] + 1), round(row["mufu"], 1)
            out.writerow([kind, operation, dtype, f"{instr:g}", f"{mufu:g}", why])


# ---------------------------------------------------------------- the table

COLUMNS = ["instr", *CLASSES, "shortest", "branches", "registers"]


def sections(rows):
    """[(operation, dtype)] in the table's order"""
    return [(o, d) for o in OPERATIONS for d in dtypes_of(o) if any(k[:2] == (o, d) for k in rows)]


def columns_of(row):
    return [c for c in COLUMNS if c in row]


def row_text(row):
    return [f"{row[c]:.1f}" if c not in ("branches", "registers") else f"{row[c]}" for c in columns_of(row)]


def format_table(rows, kinds, exceptions, version):
    over = collections.Counter(key[:2] for key, row in rows.items() if over_budget(*key[:2], row))
    text = f"""# Instructions per element

Written by `scripts/instruction_count.py --write BUILD_FOLDER`; the CTest entry `instructions` holds it equal to the compiled code.
Compiled by nvcc {version} for {ARCHITECTURE}.

A count is everything that a thread in the middle of a large aligned tensor executes, divided by its elements: loads, stores,
conversions and addresses, the function, its beginning and its end. Every branch of the function is taken the long way, in `shortest`
the short way; only what reads tables from memory is left out (the reduction of large arguments of `sine` and `snake`). The row of
`identity` is what an operation costs without a function.

The kernels of `fused_forward`, `fused_backward` and `parameter_gradient` walk a matrix in batches, and take their options and
element types at run time. For them a count is one full batch of aligned tensors of one type: {BATCH_BYTES} bytes of each input are loaded
and kept in shared memory once, and the loop inside takes a group of {GROUP} elements from there, computes and stores it, as often as
there are groups (4 of f32, 8 of a 16-bit type, 2 of f64). The count of `fused_forward` and `fused_backward` is without options: the
shortest such way in `identity`'s kernel, plus what another kernel has more than that one on the way with the most arithmetic. (That
way goes through the function, and in both kernels through the same options.) `parameter_gradient` has no options: its count is the
way with the most arithmetic, but for sums near the overflow. What a thread executes once, before and after all its batches, is left
out; before them it is more than 100 instructions, for some 8 groups where nothing is summed. `forward_many` is counted like
`forward`, with the search for its tensor. `prelu` runs the kernels of `leaky_relu`.

`mufu` has the special-function unit's operations, conversions included; `alu` the compares, selections, shifts and logic, which run
at half the rate of `fp32`; `other` the loads, stores, addresses and control. `branches` are the conditional ones.

The budget is what an H200 (132 SM at 1.98 GHz, 128 instructions and 16 special-function results a cycle and SM) issues while
4.3 TB/s move the operation's bytes. A kind above it has a line in
[instruction_exceptions.csv](../scripts/instruction_exceptions.csv) with its ceiling and the reason, or the test fails. f64 has
no budget: it is reported.

| operation | dtype | budget: instr, mufu | least | most | kinds above the budget |
|---|---|---:|---:|---:|---:|
"""
    for operation, dtype in sections(rows):
        limits, those = budget(operation, dtype), [r["instr"] for k, r in rows.items() if k[:2] == (operation, dtype)]
        said = f"{limits[0]}, {limits[1]:g}" if limits else "none"
        text += (f"| {operation} | {dtype} | {said} | {min(those):.1f} | {max(those):.1f} | "
                 f"{over[operation, dtype] if limits else '-'} |\n")
    for operation, dtype in sections(rows):
        limits = budget(operation, dtype)
        said = f"budget {limits[0]} instructions, {limits[1]:g} mufu" if limits else "no budget"
        columns = columns_of(next(r for k, r in rows.items() if k[:2] == (operation, dtype)))
        text += f"\n## {operation}, {dtype}: {said}\n\n"
        text += "| kind | " + " | ".join(columns) + " |\n|---|" + "---:|" * len(columns) + "\n"
        reasons = collections.defaultdict(list)
        for kind in kinds:
            if (operation, dtype, kind) in rows:
                text += f"| {kind} | " + " | ".join(row_text(rows[operation, dtype, kind])) + " |\n"
                if (operation, dtype, kind) in exceptions:
                    reasons[exceptions[operation, dtype, kind][2]].append(kind)
        text += "\n" + "\n".join(f"* {', '.join(of)}: above the budget: {why}" for why, of in reasons.items()) + "\n" if reasons else ""
    return text


def read_table(text):
    """(compiler version, {(operation, dtype, kind): {column: number}})"""
    version = re.search(r"^Compiled by nvcc (\S*) for", text, re.MULTILINE)
    rows, section, columns = {}, None, []
    for line in text.splitlines():
        header = re.match(r"## (\w+), ([\w-]+):", line)
        cells = [c.strip() for c in line.strip("|").split("|")]
        if header:
            section = (header[1], header[2])
        elif line.startswith("| kind"):
            columns = cells[1:]
        elif line.startswith("| ") and section:
            rows[(*section, cells[0])] = dict(zip(columns, map(float, cells[1:])))
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
            is_, was = rows[key].get(column, 0), written[key].get(column, 0)
            if abs(is_ - was) > 0.5 + 0.02 * abs(was):
                problems.append(f"{' '.join(key)}: {column} {is_:.1f}, in the table {was:.1f}")
    return problems


def main():
    parser = argparse.ArgumentParser(usage=__doc__.split("usage: ")[1].split("\n\n")[0])
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
    rows, uncounted = count_files(tools, files, kinds)
    version = next((v for v in map(compiler_version, files) if v), "unknown")
    if not rows and not uncounted:
        print(f"instructions: skipped: no activation kernel for {ARCHITECTURE} in {' '.join(options.paths)}")
        return SKIP
    exceptions = read_exceptions(options.exceptions)
    if options.show:
        for operation, dtype in sections(rows):
            for kind in kinds:
                if (operation, dtype, kind) in rows:
                    row = rows[operation, dtype, kind]
                    print(f"{operation:<21}{dtype:<7}{kind:<16}", " ".join(f"{c} {t}" for c, t in zip(columns_of(row), row_text(row))))
        return 0

    if options.suggest:
        suggest(rows, exceptions)
        return 0

    problems = uncounted
    problems += [f"no kernel for {operation} {dtype} {kind}" for operation, dtype in sections(rows) for kind in kinds
                 if (operation, dtype, kind) not in rows and operation != "parameter_gradient" and kind not in RUNS]
    problems += [f"no kernel for any {operation} {dtype}" for operation in OPERATIONS for dtype in dtypes_of(operation)
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
