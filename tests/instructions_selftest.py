#!/usr/bin/env python3
"""instructions_selftest.py ROOT: gives scripts/instruction_count.py disassemblies made here, and requires that it counts them right
and that each way to fail does fail. Needs no compiler and no disassembler."""
import os
import subprocess
import sys
import tempfile

SCRIPT = os.path.join(sys.argv[1], "scripts/instruction_count.py")
DTYPES = {"f32": ("f", "f", 4), "f64": ("d", "d", 8), "f16": ("f", "NS_3f16E", 2), "bf16": ("f", "NS_4bf16E", 2)}
FUNCTORS = {"forward": ("7Forward", 1, 1), "backward": ("8Backward", 2, 1)}


def body(elements, inputs, each, slow=(), shared=False):
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
        lines += ["EXIT", "store:"] + ["STG.E.128 desc[UR8][R12.64], R8"] * per_thread + ["EXIT"]
    else:
        lines += ["edge:", "LDG.E R3, desc[UR8][R2.64]"] + [f"{o} R3, R3, R3, R3" for o in [*each, *slow]]
        lines += ["FFMA R1, R1, R1, R1"] * 300 + ["STG.E desc[UR8][R4.64], R3", "@!P0 BRA edge", "EXIT", "body:"]
        lines += packets + ["@P0 LDG.E R8, desc[UR8][R2.64]"] * inputs + arithmetic
        lines += ["@P0 STG.E.128 desc[UR8][R12.64], R8"] * per_thread + ["@P0 EXIT", "STG.E desc[UR8][R12.64], R8", "EXIT"]
    lines += ["end:", "BRA end", "NOP"]
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


def write_object(file, kernels, version="13.0.88", shared=False):
    """What the disassembler of this test prints for `file` is the file itself."""
    with open(file, "w") as out:
        out.write(f".nv_fatbin\nCuda compilation tools, release 13.0, V{version}\n\tcode for sm_90\n")
        for (operation, dtype, kind), (each, slow) in kernels.items():
            functor, inputs, outputs = FUNCTORS[operation]
            compute, storage, size = DTYPES[dtype]
            elements = 16 // size
            out.write(f"\t\tFunction : _ZN6actium7kernels18elementwise_kernelINS0_{functor}ILNS_14ActivationKindE{kind}E{compute}EE"
                      f"{storage}Li{inputs}ELi{outputs}EEEvT_\n" + body(elements, inputs, each, slow, shared))
        out.write("\t\tFunction : _Z7anotherv\n" + body(4, 1, ["FFMA"] * 500))


def kernels(**changed):
    """identity and silu, and what `changed` says of silu: forward_f32=(opcodes, slow opcodes)."""
    table = {}
    for operation in FUNCTORS:
        for dtype in DTYPES:
            usual = (["FFMA"] * 20 + ["FMNMX"] * 2 + ["MUFU.RCP"], [])
            table[operation, dtype, 0] = ([], [])
            table[operation, dtype, 1] = changed.get(f"{operation}_{dtype}", usual)
    return table


failures = 0


def expect(what, status, *words):
    global failures
    result, text = what
    if result != status or any(w not in text for w in words):
        failures += 1
        print(f"want exit status {status} and {words}, got {result}:\n{text}\n")


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
        return done.returncode, done.stdout + done.stderr

    # Nothing to count with, nothing to count.
    write_object(f"{folder}/object.o", kernels())
    expect(run(disassembler=""), 77, "no cuobjdump and no nvdisasm")
    with open(f"{folder}/host.o", "w") as out:
        out.write("host code")
    expect(run(path=f"{folder}/host.o"), 77, "no objects that nvcc built")

    # Right counts, whatever the size of a packet; the edges and other functions do not matter. Slow paths count; the shortest is told.
    expect(run(), 1, "table.md is missing")
    expect(run("--write"), 0, "16 kernels, 0 problems")
    for shared in (False, True):
        write_object(f"{folder}/object.o", kernels(), shared=shared)
        expect(run(), 0, "16 kernels, 0 problems")
        expect(run("--print"), 0, "instr 23.0 fp32 20.0 alu 2.0 mufu 1.0 fp64 0.0 other 0.0 shortest 23.0 branches 0 registers 40")
        write_object(f"{folder}/object.o", kernels(forward_f32=(["FFMA"] * 10, ["FADD"] * 15)), shared=shared)
        expect(run("--print"), 0, "instr 26.0 fp32 25.0 alu 0.0 mufu 0.0 fp64 0.0 other 1.0 shortest 11.0 branches 8")

    # Every way to fail.
    expect(run(), 1, "forward f32 silu: instr 26.0, in the table 23.0")
    write_object(f"{folder}/object.o", kernels(forward_f32=(["FFMA"] * 64, [])))
    expect(run(), 1, "silu forward f32: 64.0 instructions, 0.0 special-function operations: the budget is 62 and 7.8")
    expect(run("--write"), 1, "the budget is 62")
    expect(run("--suggest"), 0, "silu,forward,f32,65,0.0,\n")
    expect(run(exceptions="silu,forward,f32,64,0,tier A: half the error\n"), 0, "0 problems")
    expect(run(exceptions="silu,forward,f32,63,0,tier A: half the error\n"), 1, "its exception allows 63 and 0")
    expect(run(exceptions="silu,forward,f32,64,0,\n"), 1, "gives no reason")
    expect(run(exceptions="silu,forward,f32,64,0,tier A\nsilu,forward,f16,64,0,tier A\n"), 1, "its exception can go")
    expect(run(exceptions="silu,forward,f32,64,0,tier A\nsilo,forward,f16,64,0,tier A\n"), 1, "no such kernel")
    write_object(f"{folder}/object.o", kernels(backward_bf16=(["MUFU.EX2"] * 6, [])))
    expect(run(), 1, "silu backward bf16: 6.0 instructions, 6.0 special-function operations: the budget is 46 and 5.8")
    write_object(f"{folder}/object.o", kernels(forward_f64=(["DFMA"] * 500, [])))
    expect(run("--write"), 0, "0 problems")  # no budget
    missing = kernels()
    del missing["backward", "f16", 1]
    write_object(f"{folder}/object.o", missing)
    expect(run(), 1, "no kernel for backward f16 silu", "row backward f16 silu has no kernel")

    # Another compiler's counts are not the table's, but the budgets hold.
    write_object(f"{folder}/object.o", kernels(forward_f32=(["FFMA"] * 40, [])), version="13.9.1")
    expect(run(), 0, "the counts are not compared")
    write_object(f"{folder}/object.o", kernels(forward_f32=(["FFMA"] * 64, [])), version="13.9.1")
    expect(run(), 1, "the budget is 62")

print(f"instructions_selftest: {failures} failures")
sys.exit(1 if failures else 0)
