"""What a compiled kernel executes: its sm_90 code, and the instructions on a thread's way through it."""
import collections
import os
import re
import subprocess

ARCHITECTURE = "sm_90"

# ---------------------------------------------------------------- instructions

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

    def width(self, opcodes=("LDG", "STG")):
        """Bytes a thread moves to or from memory, global if nothing else is said: 0 where it is another instruction."""
        parts = self.opcode.split(".")
        if parts[0] not in opcodes:
            return 0
        for part, size in (("256", 32), ("128", 16), ("64", 8), ("U8", 1), ("S8", 1), ("U16", 2), ("S16", 2)):
            if part in parts:
                return size
        return 4

    def stores(self):
        return self.opcode.startswith("STG")

    def target(self):
        found = re.search(r"0x([0-9a-f]+)\)?$", self.operands)
        return int(found[1], 16) if found else None


def parse(lines):
    return [Instruction(int(m[1], 16), m[2], m[3], m[4]) for m in map(LINE.match, lines) if m]


# ---------------------------------------------------------------- disassembly


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


# ---------------------------------------------------------------- the graph of a kernel


class Block:
    def __init__(self):
        self.instructions, self.successors = [], []

    def moves(self, width, opcode):
        """Bytes that it moves by such instructions of `width` bytes."""
        return sum(width for i in self.instructions if i.width((opcode,)) == width)

    def leaves(self):
        return self.instructions[-1].opcode.split(".")[0] in ("EXIT", "RET")


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


class Graph:
    """The blocks in topological order, the edges that remain when each loop runs once, and the loops."""

    def __init__(self, instructions):
        self.blocks = basic_blocks(instructions)
        self.order, self.forward = [], collections.defaultdict(list)
        self.latches = collections.defaultdict(list)  # a loop's first block -> the blocks that jump back to it
        state = {}
        stack = [(next(iter(self.blocks)), None)]
        while stack:
            address, successors = stack.pop()
            if successors is None:
                if address in state:
                    continue
                state[address] = "open"
                successors = iter(self.blocks[address].successors)
            for successor in successors:
                if state.get(successor) == "open":
                    self.latches[successor].append(address)
                    continue
                self.forward[address].append(successor)
                if successor not in state:
                    stack += [(address, successors), (successor, None)]
                    break
            else:
                state[address] = "done"
                self.order.append(address)
        self.order.reverse()

    def loops(self):
        """{first block: all blocks}. An endless loop, as compilers put behind the code, is none."""
        backward = collections.defaultdict(list)
        for a in self.order:
            for s in self.blocks[a].successors:
                backward[s].append(a)
        found = {}
        for header, latches in self.latches.items():
            body, open_ = {header}, [a for a in latches if a != header]
            while open_:
                a = open_.pop()
                if a not in body:
                    body.add(a)
                    open_ += backward[a]
            if any(s not in body for a in body for s in self.blocks[a].successors):
                found[header] = body
        return found

    def best_path(self, first, last, weight, better, gain, allowed, wanted=None):
        """Of the paths from `first` to one of `last` through blocks that are `allowed`, among those that gain `wanted` (the
        most, where that is None) the one with the `better` weight (min or max). None where there is none."""
        best = {first: {gain[first]: (weight[first], None)}}  # block -> gain -> (weight, the block and the gain before)
        ends = {}
        for a in self.order:
            for total, (count, before) in best.get(a, {}).items():
                if a in last and (total not in ends or better(ends[total][0], count) == count):
                    ends[total] = (count, a)
                for s in self.forward[a]:
                    if allowed(s):
                        known = best.setdefault(s, {})
                        so_far, at = count + weight[s], total + gain[s]
                        if at not in known or better(known[at][0], so_far) == so_far:
                            known[at] = (so_far, (a, total))
        wanted = max(ends, default=0) if wanted is None else wanted
        if wanted not in ends:
            return None
        path, step = [], (ends[wanted][1], wanted)
        while step:
            path.append(step[0])
            step = best[step[0]][step[1]][1]
        return path[::-1]


# ---------------------------------------------------------------- counts


class Count:
    """What a way costs: instructions by class, for each of the elements on it; conditional branches."""

    def __init__(self, blocks, times, elements):
        self.classes, self.branches, self.elements = collections.Counter(), 0, elements
        for block, often in zip(blocks, times):
            for i in block.instructions:
                if i.opcode != "NOP":
                    self.classes[instruction_class(i.opcode)] += often
                self.branches += i.opcode.split(".")[0] == "CALL" or i.opcode.split(".")[0] == "BRA" and (
                    i.predicated or "," in i.operands)

    def each(self, name=None):
        """Instructions an element, of a class or of all."""
        return (sum(self.classes.values()) if name is None else self.classes[name]) / self.elements


def straight_paths(instructions, element_bytes, writes):
    """(longest, shortest) Count from the entry to the exit through the whole packets.

    The shortest is that of the paths which store the most bytes by whole packets: the way of a thread in the middle of a large
    tensor. The longest goes through the same loads and stores, with every other branch taken the long way.
    """
    packet = max(i.width() for i in instructions if i.stores())
    load = max((i.width() for i in instructions if i.opcode.startswith("LDG")), default=0)
    graph = Graph(instructions)
    blocks, order = graph.blocks, graph.order
    length = {a: sum(i.opcode != "NOP" for i in blocks[a].instructions) for a in order}
    stored = {a: blocks[a].moves(packet, "STG") for a in order}
    memory = {a for a in order if any(i.width() for i in blocks[a].instructions)}
    # Moves single elements, and not as the unaligned alternative of a packet.
    edges = {a for a in memory if any(not i.predicated and 0 < i.width() < (packet if i.stores() else load)
                                      for i in blocks[a].instructions)}
    ends = {a for a in order if blocks[a].leaves()}  # a path ends where a thread may leave

    shortest = graph.best_path(order[0], ends, length, min, stored, lambda a: a not in edges)
    if shortest is None or sum(stored[a] for a in shortest) == 0:
        raise ValueError("no path stores whole packets")
    needed = memory & set(shortest)
    visits = {a: int(a in needed) for a in order}
    longest = graph.best_path(order[0], ends, length, max, visits, lambda a: a not in memory or a in needed)
    elements = sum(stored[a] for a in shortest) // (element_bytes * writes)
    return [Count([blocks[a] for a in path], [1] * len(path), elements) for path in (longest, shortest)]


# 2^64 and 2^512, by which PairSum::add_large() multiplies.
LARGE_SUM = re.compile(r"\b(1\.84467440737095516160e\+19|1\.34078079299425970996e\+154)\b")


def loop_paths(instructions, element_bytes, reads, writes, group, batch_bytes, inputs):
    """(busiest, shortest) Count of one turn of the loop over batches: `batch_bytes` of each input are loaded and kept in shared
    memory, then a loop inside it takes a group of `group` elements of each from there, and stores one, a turn.

    The busiest way has the most floating-point and special-function instructions, and of those ways it is the shortest. What else
    may be read or written (bias, residual, mask) is left out.
    """
    group_bytes = group * element_bytes
    width, turns = min(group_bytes, 16), batch_bytes // group_bytes
    graph = Graph(instructions)
    blocks, loops = graph.blocks, graph.loops()

    def within(a, opcode):
        return sum(blocks[b].moves(width, opcode) for b in loops[a])

    # The smallest loop with all loads and stores to shared memory; in it the largest that only takes from there.
    main = max(loops, key=lambda a: (within(a, "STS"), within(a, "LDS"), -len(loops[a])), default=None)
    if main is None or not within(main, "STS"):
        raise ValueError("it has no loop that keeps a batch in shared memory")
    inner = [a for a in loops if a != main and loops[a] < loops[main]]
    queue = max((loops[a] for a in inner if within(a, "LDS") and not within(a, "STS")), key=len, default=None)
    if queue is None:
        raise ValueError("it has no loop that takes a group a turn")

    wanted = {"LDG": reads * batch_bytes, "STS": reads * batch_bytes, "LDS": reads * group_bytes, "STG": writes * group_bytes}
    # Moves single elements, groups of another type or an option's vector, or reads a table.
    others = {a for a in loops[main] if any(not i.predicated and i.width(wanted) not in (0, width) for i in blocks[a].instructions)}
    others |= {a for a in queue if any(i.opcode.startswith("LDG") for i in blocks[a].instructions)}
    if writes == 0:  # nor adds to sums near the overflow
        others |= {a for a in queue if any(LARGE_SUM.search(i.operands) for i in blocks[a].instructions)}
    unit = {opcode: 1 << 16 * at for at, opcode in enumerate(wanted)}  # so that one number says what is moved
    moved = {a: sum(blocks[a].moves(width, o) * unit[o] for o in wanted) for a in graph.order}
    total = sum(wanted[o] * unit[o] for o in wanted)
    far = 1 << 32
    counts = []
    for arithmetic in (-far, 1):  # what such an instruction weighs
        weight = {a: sum(arithmetic if instruction_class(i.opcode) in ("fp32", "fp64", "mufu") else i.opcode != "NOP"
                         for i in blocks[a].instructions) * (turns if a in queue else 1) for a in graph.order}

        def way(loop, moves):
            path = graph.best_path(loop, set(graph.latches[loop]), weight, min, moved,
                                   lambda a: a in loops[loop] and a not in others, moves)
            if path is None:
                raise ValueError(f"no way round its loop moves {batch_bytes} bytes of each tensor and nothing else")
            return path

        path = way(main, total)
        for loop in inner:  # over the inputs, of which some are not there
            if loop in path and loop not in queue:
                path = path + way(loop, 0) * (inputs - reads)
        counts.append(Count([blocks[a] for a in path], [turns if a in queue else 1 for a in path], turns * group))
    return counts
