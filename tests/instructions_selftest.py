#!/usr/bin/env python3
"""instructions_selftest.py ROOT: gives scripts/instruction_count.py disassemblies made here, and requires that it counts them right
and that each way to fail does fail. Needs no compiler and no disassembler."""
import os
import re
import subprocess
import sys
import tempfile

SCRIPT = os.path.join(sys.argv[1], "scripts/instruction_count.py")
TYPES = {"f32": ("f", "f", 4), "f64": ("d", "d", 8), "f16": ("f", "NS_3f16E", 2), "bf16": ("f", "NS_4bf16E", 2),
         "16-bit": ("f", "Lb1", 2)}
FUNCTORS = {"forward": ("7Forward", 1, 1), "backward": ("8Backward", 2, 1), "jvp": ("3Jvp", 2, 2),
            "backward_of_backward": ("18BackwardOfBackward", 3, 2)}
WALKS = {"fused_forward": ("20fused_forward_kernel", 1, 1), "fused_backward": ("21fused_backward_kernel", 2, 1),
         "parameter_gradient": ("25parameter_gradient_kernel", 2, 0)}
GROUP, BATCH_BYTES, INPUTS = 4, 64, 2


def body(elements, inputs, outputs, each, slow=(), shared=False):
    """A kernel as a compiler lays it out. each: opcodes for an element; slow: what a branch of each element may add.
    Its edges are a loop over single elements, or with `shared` go through the packets' arithmetic."""
    arithmetic = []
    per_thread = 2  # packets
    for e in range(elements * per_thread):
        arithmetic += [f"{o} R3, R3, R3, R3" for o in each]
        if slow:
            arithmetic += [f"@!P1 BRA fast{e}"] + [f"{o} R3, R3, R3, R3" for o in slow] + [f"fast{e}:"]
    packets = ["S2R R0, SR_TID.X", "LDC R14, c[0x0][0x260]"] + ["LDG.E.128 R8, desc[UR8][R2.64]"] * inputs * per_thread
    lines = ["ISETP.LE.U32.AND P0, PT, R4, UR4, PT", "@!P0 BRA body"]
    if shared:
        lines += ["LEA R1, R1, R1"] * 20
        for i in range(inputs * per_thread):
            lines += [f"@P1 BRA whole{i}", "@P2 LDG.E R8, desc[UR8][R2.64]", f"BRA next{i}", f"whole{i}:",
                      "LDG.E.128 R8, desc[UR8][R2.64]", f"next{i}:", "LEA R1, R1, R1"]
        lines += ["BRA join", "body:"] + packets + ["join:"] + arithmetic + ["@!P0 BRA store"] + ["LEA R1, R1, R1"] * 20
        for k in range(per_thread):
            lines += [f"@P1 BRA place{k}"] + ["@P2 STG.E desc[UR8][R4.64], R3"] * 4 + [f"BRA after{k}", f"place{k}:",
                      "STG.E.128 desc[UR8][R12.64], R8", f"after{k}:", "LEA R1, R1, R1"]
        lines += ["EXIT", "store:"] + ["STG.E.128 desc[UR8][R12.64], R8"] * outputs * per_thread + ["EXIT"]
    else:
        lines += ["edge:", "LDG.E R3, desc[UR8][R2.64]"] + [f"{o} R3, R3, R3, R3" for o in [*each, *slow]]
        lines += ["FFMA R1, R1, R1, R1"] * 300 + ["STG.E desc[UR8][R4.64], R3", "@!P0 BRA edge", "EXIT", "body:"]
        lines += packets + ["@P0 LDG.E R8, desc[UR8][R2.64]"] * inputs + arithmetic
        lines += ["@P0 STG.E.128 desc[UR8][R12.64], R8"] * outputs * per_thread + ["@P0 EXIT", "STG.E desc[UR8][R12.64], R8", "EXIT"]
    return lines


def move_batch(inputs, width, batch, name):
    """Loads a batch of each of `inputs` and keeps it in shared memory, the last packet behind a branch, and goes to `name`."""
    packets = inputs * batch // width
    return ([f"@P7 LDG.E.{8 * width} R8, desc[UR8][R2.64]"] * packets + [f"@P7 STS.{8 * width} [R59], R8"] * (packets - 1) +
            [f"@P3 BRA {name}", f"STS.{8 * width} [R59+0x10], R8", f"BRA {name}"])


def stage(reads, widths, batch):
    """Moves a batch of both inputs together, or in a loop over those that are there; of groups of each of these widths."""
    lines = []
    if reads == INPUTS:
        lines += ["@P0 BRA input"] + [f"@P1 BRA both{w}" for w in widths[1:]]
        for w in widths:
            lines += [f"both{w}:"] + move_batch(INPUTS, w, batch, "staged")
    lines += ["input:", "LEA R1, R1, R1", "@P2 BRA absent"] + [f"@P1 BRA one{w}" for w in widths[1:]]
    for w in widths:
        lines += [f"one{w}:"] + move_batch(1, w, batch, "absent")
    return lines + ["absent:", "LEA R1, R1, R1", "@P4 BRA input", "staged:", "WARPSYNC.ALL"]


def add_to_sums(element):
    """Unless the group ends before it, or the other way where the sum is large."""
    return ([f"@P1 BRA next{element}"] + ["FADD R1, R1, R1"] * 2 + [f"@P2 BRA next{element}", "FMUL R1, R1, 1.84467440737095516160e+19"] +
            ["FADD R1, R1, R1"] * 5 + [f"next{element}:"])


def walk(reads, writes, each, slow=(), batch=BATCH_BYTES):
    """A kernel that walks: rounds of batches, of groups of two types; a loop that takes a group of them a turn, with two options
    and (with two reads) two sources of the slope; and a function that for some x reads a table."""
    lines = ["S2R R0, SR_TID.X"] * 5 + ["round:"] + ["LEA R1, R1, R1"] * 50 + ["turn:", "LEA R1, R1, R1"]
    lines += stage(reads, (16, 8), batch) + ["@P5 BRA done", "queue:"]
    for i in range(reads):
        lines += [f"@P1 BRA narrow{i}", "LDS.128 R8, [R59]", f"BRA taken{i}", f"narrow{i}:", "LDS.64 R8, [R59]", f"taken{i}:"]
    if writes:
        lines += ["@P2 BRA without", "@P7 LDG.E.128 R8, desc[UR8][R2.64]"] + ["FADD R1, R1, R1"] * 9 + ["without:"]
        lines += ["@P3 BRA scaled"] + ["FADD R1, R1, R1"] * 4 + ["scaled:"] + ["@P4 BRA mask"] * (reads == 2)
    if each:
        lines += ["@P7 BRA reduced", "@P2 LDG.E.64.CONSTANT R8, desc[UR8][R2.64]"] + ["FFMA R1, R1, R1, R1"] * 50 + ["reduced:"]
    for e in range(GROUP):
        lines += [f"{o} R3, R3, R3, R3" for o in each]
        if slow:
            lines += [f"@!P1 BRA fast{e}"] + [f"{o} R3, R3, R3, R3" for o in slow] + [f"fast{e}:"]
        lines += add_to_sums(e) if writes == 0 else []
    lines += ["mask:"] + ["LEA R1, R1, R1"] * 2
    if writes:
        lines += ["@P1 BRA store", "STG.E.128 desc[UR8][R12.64], R8", "BRA stored", "store:", "STG.E.64 desc[UR8][R12.64], R8", "stored:"]
    return lines + ["@P5 BRA queue", "done:", "@P6 BRA turn", "@P6 BRA round", "STG.E.64 desc[UR8][R12.64], R8", "EXIT"]


def walk_f64(reads, writes, each, batch=BATCH_BYTES):
    """A group is two packets, and there is one type."""
    lines = ["turn:"] + stage(reads, (16,), batch) + ["queue:"] + ["LDS.128 R8, [R59]"] * 2 * reads
    for e in range(GROUP):
        lines += [f"{o} R3, R3, R3, R3" for o in each] + (add_to_sums(e) if writes == 0 else [])
    return lines + ["STG.E.128 desc[UR8][R12.64], R8"] * 2 * writes + ["@P5 BRA queue", "@P6 BRA turn", "EXIT"]


def text_of(lines):
    """As the disassembler prints it."""
    lines = lines + ["end:", "BRA end", "NOP"]
    addresses, at = {}, 0
    for line in lines:
        if line.endswith(":"):
            addresses[line[:-1]] = at
        else:
            at += 16
    text, at = "", 0
    for line in lines:
        if line.endswith(":"):
            continue
        words = line.split()
        if "BRA" in words:
            words[-1] = hex(addresses[words[-1]])
        line = " ".join(words)
        text += f"        /*{at:04x}*/                   {line} ;      /* 0x000ff00000000800 */\n"
        at += 16
    return text


def function(operation, dtype, kind, each, slow, shared, batch):
    """(mangled name, code)"""
    compute, storage, size = TYPES[dtype]
    kind_text = f"ILNS_14ActivationKindE{kind}E"
    prefix = "_ZN6actium7kernels"
    if operation in FUNCTORS:
        functor, inputs, outputs = FUNCTORS[operation]
        return (f"{prefix}18elementwise_kernelINS0_{functor}{kind_text}{storage}EE{storage}Li{inputs}ELi{outputs}EEEvT_",
                body(16 // size, inputs, outputs, each, slow, shared))
    if operation == "forward_many":
        return f"{prefix}19forward_many_kernel{kind_text}{storage}EEvv", body(16 // size, 1, 1, each, slow, shared)
    kernel, reads, writes = WALKS[operation]
    narrow = "" if operation == "parameter_gradient" else "Lb1E" if dtype == "16-bit" else "Lb0E"
    code = walk_f64(reads, writes, each, batch) if dtype == "f64" else walk(reads, writes, each, slow, batch)
    return f"{prefix}{kernel}{kind_text}{compute}{narrow}EEvv", code


def write_object(file, kernels, version="13.0.88", shared=False, batch=BATCH_BYTES):
    """What the disassembler of this test prints for `file` is the file itself."""
    with open(file, "w") as out:
        out.write(f".nv_fatbin\nCuda compilation tools, release 13.0, V{version}\n\tcode for sm_90\n")
        for (operation, dtype, kind), (each, slow) in kernels.items():
            name, code = function(operation, dtype, kind, each, slow, shared, batch)
            out.write(f"\t\tFunction : {name}\n" + text_of(code))
        out.write("\t\tFunction : _Z7anotherv\n" + text_of(body(4, 1, 1, ["FFMA"] * 500)))


def kernels(**changed):
    """identity and silu, and what `changed` says of silu: forward_f32=(opcodes, slow opcodes)."""
    table = {}
    usual = (["FFMA"] * 12 + ["FMNMX"] * 2 + ["MUFU.RCP"], [])
    for operation in [*FUNCTORS, "forward_many"]:
        for dtype in ("f32", "f64", "f16", "bf16"):
            table[operation, dtype, 0] = ([], [])
            table[operation, dtype, 1] = changed.get(f"{operation}_{dtype}", usual)
    for operation in WALKS:
        for dtype in ("f32", "f64", "16-bit")[:3 - (operation == "parameter_gradient")]:  # whose f32 takes 16-bit tensors
            table[operation, dtype, 0] = ([], [])
            table[operation, dtype, 1] = changed.get(f"{operation}_{dtype.replace('-', '_')}", usual)
    return table


failures = 0


def expect(what, status, *words):
    global failures
    result, text = what
    if result != status or any(w not in text for w in words):
        failures += 1
        print(f"want exit status {status} and {words}, got {result}:\n{text}\n")


def line(operation, dtype, kind, counts):
    return f"{operation} {dtype} {kind} instr {counts}"


with tempfile.TemporaryDirectory() as folder:
    os.makedirs(f"{folder}/bin")
    with open(f"{folder}/bin/cuobjdump", "w") as out:
        out.write('#!/bin/sh\ncase $1 in -sass) cat "$4" ;; -res-usage) sed -n "s/.*Function : \\(.*\\)/ Function \\1:\\n  REG:40 STACK:0/p" "$4" ;; esac\n')
    with open(f"{folder}/bin/nvdisasm", "w") as out:
        out.write("#!/bin/sh\n")
    for name in ("cuobjdump", "nvdisasm"):
        os.chmod(f"{folder}/bin/{name}", 0o755)
    with open(f"{folder}/registry", "w") as out:
        out.write('ACTIUM_ACTIVATION(identity, P0(), 0.5, "x")\nACTIUM_ACTIVATION(silu, P0(), 0.5, "x * sigmoid(x)")\n')

    def run(*options, exceptions="", disassembler=f"{folder}/bin", path=f"{folder}/object.o"):
        with open(f"{folder}/exceptions.csv", "w") as out:
            out.write("# Comment.\nkind,op,dtype,instr,mufu,why\n" + exceptions)
        done = subprocess.run([sys.executable, SCRIPT, *options, "--table", f"{folder}/table.md", "--exceptions",
                               f"{folder}/exceptions.csv", "--registry", f"{folder}/registry", path],
                              env={"PATH": "/usr/bin:/bin" if disassembler else "", "ACTIUM_DISASSEMBLER": disassembler},
                              capture_output=True, text=True)
        return done.returncode, re.sub(" +", " ", done.stdout + done.stderr)

    # Nothing to count with, nothing to count.
    write_object(f"{folder}/object.o", kernels())
    expect(run(disassembler=""), 77, "no cuobjdump and no nvdisasm")
    with open(f"{folder}/host.o", "w") as out:
        out.write("host code")
    expect(run(path=f"{folder}/host.o"), 77, "no objects that nvcc built")

    # Right counts: 15 instructions for the function and what it takes to move an element, whatever the size of a packet; the
    # edges and other functions do not matter. Slow paths count; the shortest is told. Of a walk one full batch counts, without options.
    expect(run(), 1, "table.md is missing")
    expect(run("--write"), 0, "58 kernels, 0 problems")
    for shared in (False, True):
        write_object(f"{folder}/object.o", kernels(), shared=shared)
        expect(run(), 0, "58 kernels, 0 problems")
        expect(run("--print"), 0, *(line(*l) for l in (
            ("forward", "f32", "identity", "1.2 fp32 0.0 alu 0.1 mufu 0.0 fp64 0.0 other 1.1 shortest 1.2"),  # 10 / 8
            ("forward", "f32", "silu", "16.2 fp32 12.0 alu 2.1 mufu 1.0 fp64 0.0 other 1.1 shortest 16.2"),
            ("forward", "bf16", "silu", "15.6 fp32 12.0 alu 2.1 mufu 1.0 fp64 0.0 other 0.6 shortest 15.6"),  # 10 / 16 more
            ("forward_many", "f64", "silu", "17.5 fp32 12.0 alu 2.2 mufu 1.0 fp64 0.0 other 2.2 shortest 17.5"),
            # Of 16 elements: 1, staging 15, the input that is not there 4, 2, four groups of 11, 1.
            ("fused_forward", "f32", "identity", "4.2 fp32 0.0 alu 0.8 mufu 0.0 fp64 0.0 other 3.4"),
            ("fused_forward", "f32", "silu", "19.4 fp32 12.0 alu 2.8 mufu 1.0 fp64 0.0 other 3.6"),  # and whether to read a table
            # Of 32 elements: 1, staging 36, 2, eight groups of 12 and 61, 1.
            ("fused_backward", "16-bit", "silu", "19.5 fp32 12.0 alu 2.5 mufu 1.0 fp64 0.0 other 4.0"),
            # The same with groups of 7, 61 and 16 for the sums; of 8 elements: staging 19, 1, two groups of 5, 60 and 16, 1.
            ("parameter_gradient", "16-bit", "silu", "22.2 fp32 14.0 alu 2.5 mufu 1.0 fp64 0.0 other 4.7"),
            ("parameter_gradient", "f64", "silu", "22.9 fp32 14.0 alu 2.0 mufu 1.0 fp64 0.0 other 5.9"))))
        write_object(f"{folder}/object.o", kernels(forward_f32=(["FFMA"] * 10, ["FADD"] * 15), fused_backward_f32=(["FFMA"] * 10, ["FADD"] * 15)),
                     shared=shared)
        expect(run("--print"), 0, line("forward", "f32", "silu", "27.2 fp32 25.0 alu 0.1 mufu 0.0 fp64 0.0 other 2.1 shortest 12.2"),
               line("fused_backward", "f32", "silu", "31.5 fp32 25.0 alu 0.6"))

    # Every way to fail.
    expect(run(), 1, "forward f32 silu: instr 27.2, in the table 16.2")
    write_object(f"{folder}/object.o", kernels(forward_f32=(["FFMA"] * 61, [])))  # which would be within the budget, but for the copy
    expect(run(), 1, "silu forward f32: 62.2 instructions, 0.0 special-function operations: the budget is 62 and 7.8")
    expect(run("--write"), 1, "the budget is 62")
    expect(run("--suggest"), 0, "silu,forward,f32,63,0,\n")
    expect(run("--suggest", exceptions="silu,forward,f32,64,0,tier A\n"), 0, "silu,forward,f32,64,0,tier A\n")
    expect(run(exceptions="silu,forward,f32,63,0,tier A: half the error\n"), 0, "0 problems")
    expect(run(exceptions="silu,forward,f32,62,0,tier A: half the error\n"), 1, "its exception allows 62 and 0")
    expect(run(exceptions="silu,forward,f32,63,0,\n"), 1, "gives no reason")
    expect(run(exceptions="silu,forward,f32,63,0,tier A\nsilu,forward,f16,64,0,tier A\n"), 1, "its exception can go")
    expect(run(exceptions="silu,forward,f32,63,0,tier A\nsilo,forward,f16,64,0,tier A\n"), 1, "no such kernel")
    write_object(f"{folder}/object.o", kernels(backward_bf16=(["MUFU.EX2"] * 6, [])))
    expect(run(), 1, "silu backward bf16: 6.8 instructions, 6.0 special-function operations: the budget is 46 and 5.8")
    for operation, dtype, limit in (("jvp", "f32", 124), ("forward_many", "bf16", 31), ("fused_forward", "16-bit", 31),
                                    ("fused_backward", "f32", 93), ("parameter_gradient", "f32", 62)):
        heavier = {f"{operation}_{dtype.replace('-', '_')}": (["FFMA"] * limit, [])}
        write_object(f"{folder}/object.o", kernels(**heavier))
        expect(run(), 1, f"silu {operation} {dtype}: ", f"the budget is {limit} and")
    write_object(f"{folder}/object.o", kernels(forward_f64=(["DFMA"] * 500, []), fused_backward_f64=(["DFMA"] * 500, [])))
    expect(run("--write"), 0, "0 problems")  # no budget
    # identity has no form of its own for 16 bits and does with the kernel of f32, silu has one; prelu has no kernels at all.
    shared_kernel = kernels()
    del shared_kernel["fused_forward", "16-bit", 0]
    write_object(f"{folder}/object.o", shared_kernel)
    expect(run("--print"), 0, line("fused_forward", "16-bit", "identity", ""))
    del shared_kernel["fused_forward", "16-bit", 1]
    shared_kernel["fused_forward", "16-bit", 0] = ([], [])
    write_object(f"{folder}/object.o", shared_kernel)
    expect(run(), 1, "no kernel for fused_forward 16-bit silu")
    with open(f"{folder}/registry", "a") as out:
        out.write('ACTIUM_ACTIVATION(prelu, P1(slope, 0.25, finite), 0.5, "x")\n')
    write_object(f"{folder}/object.o", kernels())
    expect(run("--write"), 0, "0 problems")
    missing = kernels()
    del missing["backward", "f16", 1]
    write_object(f"{folder}/object.o", missing)
    expect(run(), 1, "no kernel for backward f16 silu", "row backward f16 silu has no kernel")
    write_object(f"{folder}/object.o", {k: v for k, v in kernels().items() if k[0] != "fused_forward"})
    expect(run(), 1, "no kernel for any fused_forward 16-bit")
    write_object(f"{folder}/object.o", kernels(), batch=2 * BATCH_BYTES)
    expect(run(), 1, "fused_forward f32 silu cannot be counted: no way round its loop moves 64 bytes of each tensor")

    # Another compiler's counts are not the table's, but the budgets hold.
    write_object(f"{folder}/object.o", kernels(forward_f32=(["FFMA"] * 40, [])), version="13.9.1")
    expect(run(), 0, "the counts are not compared")
    write_object(f"{folder}/object.o", kernels(forward_f32=(["FFMA"] * 64, [])), version="13.9.1")
    expect(run(), 1, "the budget is 62")

print(f"instructions_selftest: {failures} failures")
sys.exit(1 if failures else 0)
