#!/usr/bin/env python3
"""Seeded mutation testing of kernels/: is every small fault noticed by the tests of the emulated library?

  tests/mutation.py BUILD [--count N] [--seed S] [--files GLOB] [--jobs J] [--minutes M] [--report FILE]
                          [--asan BUILD] [--tsan BUILD] [--known]

BUILD is a configured (Ninja) and built tree with the emulated tests; nothing in it or in the sources is changed. A mutant is
a copy of kernels/ with one edit; the files that include it are compiled and linked before the tree's other objects, and the
tree's test programs run over that library. Survivors of the plain tree go on to the sanitized ones. Fails when a mutant
survives that docs/mutation.md does not list as equivalent, or when the score is below 95 %."""
import argparse, collections, concurrent.futures, fnmatch, hashlib, json, os, pathlib, re, shutil, subprocess, sys, tempfile, time

LIBRARY = 'tests/libactium_emulated.so'
SUITE_OF = {'activation': 'activation', 'gated': 'gated', 'softmax': 'softmax', 'device_support': 'softmax', 'sparsemax': 'sparsemax',
            'cross_entropy': 'cross_entropy', 'random': 'random', 'signal': 'propagation',
            **dict.fromkeys(('channel', 'forward', 'fused', 'parameter'), 'elementwise_kernels')}
MORE_OF = {'softmax': ('softmax_options', 'softmax_derivatives', 'softmax_rows')}  # in quick form
# Suites that have the CPU's tests too.
FOR_DEVICES = {*SUITE_OF.values(), 'softmax_options', 'softmax_derivatives'} - {'elementwise_kernels'}
SUITES = tuple(SUITE_OF)
ALIKE = '(softmax|derivatives|sparsemax|cross_entropy|gated|activation|many|backward|gradient)_f64|backward_16'
QUICK = {'ACTIUM_QUICK': '1'}
ORDERS = [{'ACTIUM_EMULATOR_SCHEDULE': schedule, 'ACTIUM_EMULATOR_POISON': poison}
          for schedule, poison in [('forward', '0xff'), ('reverse', '0xff'), ('random:1', '0x7f')]]
FORWARD = ORDERS[0]
KINDS = ['value', 'guard', 'violation', 'schedule', 'crash', 'timeout', 'asan', 'tsan']
SIGNS = [('ThreadSanitizer', 'tsan'), ('AddressSanitizer', 'asan'), ('runtime error:', 'asan'), ('listener.cpp', 'violation'),
         ('guards_intact', 'guard'), ('untouched', 'guard')]  # in the output of a failed test

# ---------------------------------------------------------------- mutants

SWAPS = 'lane warp, rows cols, across down, first_row first_column, value slope, true false, low high, sine cosine, hi lo, ' \
        'splits groups, columns_per_tile rows_per_tile, my_rows tile_rows, min max, Max Sum'
NAMES = {'units': 'rows', 'scaled': 'value', 'column': 'row', 'column_in_tile': 'row_in_tile', 'raw_squares': 'squares',
         'dy': 'content', **dict(pair.split() for pair in SWAPS.split(', ')),
         **dict(reversed(pair.split()) for pair in SWAPS.split(', '))}
RULES = [(pattern, new) for pattern, news in [
    (r' < ', [' <= ', ' > ']), (r' > ', [' >= ', ' < ']), (r' >= ', [' > ', ' < ']), (r' <= ', [' < ']), (r' == ', [' != ']),
    (r' != ', [' == ']), (r' && ', [' || ']), (r' \|\| ', [' && ']), (r' \+ ', [' - ']), (r' - ', [' + ']), (r' >> ', [' << ']),
    (r' \* ', [' + ', ' / ']), (r' / ', [' * ']), (r' % ', [' / ']), (r' \+= ', [' -= ', ' = ']), (r' /= 2', [' /= 4']),
    (r'(?:(?<=[(=,?:] )|(?<=[({ ]))-(?=\w)', ['']), (r'\+\+(\w+)', [r'\1 += 2']), (r'(?<=0x1p-)(\d)(\d)', [r'\2\1']),
    (r'(?<![\w.)])(?<!\)\[)(\d+)(?![\w.])', [r'(\1 + 1)', r'(\1 - 1)']),
    (r'(?<!:)\bk(?:WarpSize|\w+Threads|\w+Batch|Rows|Count|Packets|FinishUnits|Limit|\w+MaxColumns)\b(?! =)',
     [r'(\g<0> - 1)', r'(\g<0> / 2)']),
    (r'(?<=< )(?:rows|cols|count|units|packets|rest|half|plan\.\w+|my_rows|tile_columns|k[A-Z]\w+)\b(?![.<(])',
     [r'\g<0> - 1', r'\g<0> + 1']),
    (r'__sync(?:threads|warp)\([^;]*\);', [';']), (r'0xffffffffu', ['0x7fffffffu']), (r'(?<=v, )offset', ['offset / 2']),
    (r'threadIdx\.x', ['0']), (r'blockIdx\.x', ['0']), (r'gridDim\.x', ['1']), (r'blockDim\.x', ['(blockDim.x - 1)']),
    (r'\b\w+\.lo\b', [r'(\g<0> - \g<0>)']), (r'(?<!bool )\baligned\b(?= &&|\))', ['true', 'false']),
    (r'\bwords\.x', ['words.y']), (r'\bwords\.z', ['words.w']), (r'\bINFINITY', ['0']),
    (r'\[(?:lane|warp|tile|column|thread|row)\]', ['[0]']), (r'\bif \([^{};]*\) return [^;]*;', [';']),
    (r'\b(?!ACTIUM)(\w+)\((?!op\b)(\w[\w.\[\]]*), (?!stream|parameters|op\b)(\w[\w.\[\]]*)(?=[,)])', [r'\1(\3, \2']),
    (r', (?!stream)(\w+), (?!stream)(\w+)(?=[,)}])', [r', \2, \1']),
    (r'(?<![\w>&*] )\b(?:%s)\b(?![ >]?[={(>\w])' % '|'.join(NAMES), [None]), (r'\b(?:Max|Sum)(?=\{\})', [None]),
    (r'(?<=std::)(?:min|max)\b', [None]), (r'\bif (\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\))', [r'if (!\1)']),
] for new in news]
DECLARATION = r'(?:return \w|case|template|for|if|const|static|auto|Packet<|Pair<|RowSums|ACTIUM|device::P|std::|using|[CT]\*? ' \
              r'|int|bool|double|else|__|dim3|unsigned|uint4|typename|inline|Status |Division<|first \+=|row \+=|split \+=)'
STATEMENT = re.compile(r'(?:^ *|(?<=\)) |(?<=else) )((?!' + DECLARATION + r')\*?\w[^;{}#=]*?(?: ?[-+*/%]?= (?:[^;{]|\{[^;{}\n]*\})*|\([^;]*\)|);)', re.M)
DEAD = [r'//[^\n]*', r'/\*.*?\*/', r'#ifdef __CUDA_ARCH__.*?#else', r'#ifndef ACTIUM_SHARED.*?#endif', r'"[^"\n]*"',
        r'^[ ]*#(?:[^\n]*\\\n)*[^\n]*', r'static_assert\([^;]*;', r'^ *(?:template|using|struct) [^\n]*',
        r'__launch_bounds__\([^)]*\)', r'kForwardBlocks =[^;]*;', r'ElementwiseTensors<[^>]*>',
        r'(?<=[a-z]), 0(?=\})']  # the stride of a matrix of one row
Mutant = collections.namedtuple('Mutant', 'file line old new text')


def edits(code):
    """(start, end, replacement) of every mutation of this code."""
    for pattern, new in RULES:
        for m in re.finditer(pattern, code):
            if new is not None:
                yield m.start(), m.end(), m.expand(new)
            elif re.search(rf'\b{NAMES[m[0]]}\b', code) or m[0] in ('true', 'false', 'min', 'max'):
                yield m.start(), m.end(), NAMES[m[0]]
    for m in STATEMENT.finditer(code):
        if code[:m.start(1)].rstrip().endswith((';', '{', '}', ')', 'else', ':')):
            yield m.start(1), m.end(1), ';'


def mutants_of(root, file):
    text = code = (root / file).read_text()
    for pattern in DEAD:  # blanks, so that everything stays in its place
        code = re.sub(pattern, lambda m: re.sub(r'[^\n]', ' ', m[0]), code, flags=re.S | re.M)
    found = {}
    for start, end, new in edits(code):
        new += '\n' * (text.count('\n', start, end) - new.count('\n'))  # lines keep their numbers
        mutated = text[:start] + new + text[end:]
        first, last = text.rfind('\n', 0, start) + 1, text.find('\n', end)
        old_line, new_line = (' '.join(part.split()) for part in (text[first:last], mutated[first:len(mutated) - len(text) + last]))
        if new_line != old_line:  # two zeros exchanged are the same code
            found.setdefault((first, new_line), Mutant(file, text.count('\n', 0, start) + 1, old_line, new_line, mutated))
    return [found[key] for key in sorted(found)]


def choose(root, pattern, seed):
    """Every mutant, in an order made by the seed in which the files take turns. A mutant's place depends on its own lines,
    so an edit elsewhere leaves the others where they are."""
    lists = []
    for path in sorted((root / 'kernels').rglob('*.cu*')):
        file = str(path.relative_to(root))
        if fnmatch.fnmatch(file, pattern) and (path.suffix == '.cuh' or '__global__' in path.read_text()):
            place = lambda m: hashlib.sha256(repr((seed, m.file, m.old, m.new)).encode()).digest()
            lists.append(sorted(mutants_of(root, file), key=place))
    return [some[turn] for turn in range(max(map(len, lists), default=0)) for some in lists if turn < len(some)]


def known_equivalents(root):
    """The blocks of docs/mutation.md: a file, then '- original line', '+ mutated line', '= why' for each."""
    known, file, old, new = {}, '', '', ''
    for block in re.findall(r'```equivalent\n(.*?)```', (root / 'docs/mutation.md').read_text(), re.S):
        for line in filter(str.strip, block.splitlines()):
            rest = ' '.join(line[1:].split())
            file, old, new = {'-': (file, rest, new), '+': (file, old, rest), '=': (file, old, new)}.get(line[0], (line.strip(), '', ''))
            if line[0] == '=':
                known[file, old, new] = rest
    return known


# ---------------------------------------------------------------- a build tree

def shell(command, cwd, timeout=None, env=None):
    """(exit status, output); the status is None past the time limit."""
    with tempfile.TemporaryFile() as output:
        try:
            status = subprocess.run(command, shell=isinstance(command, str), cwd=cwd, stdout=output, stderr=subprocess.STDOUT,
                                    timeout=timeout, env={**os.environ, 'OMP_NUM_THREADS': '1', **(env or {})}).returncode
        except subprocess.TimeoutExpired:
            status = None
        output.seek(0)
        return status, output.read(4 << 20).decode(errors='replace')


class Tree:
    def __init__(self, build, sanitized):
        self.build, self.sanitized, self.limits = pathlib.Path(build).resolve(), sanitized, {}
        cache = (self.build / 'CMakeCache.txt').read_text()
        self.root = pathlib.Path(re.search(r'CMAKE_HOME_DIRECTORY:INTERNAL=(.*)', cache)[1])
        tool = lambda name: subprocess.run(['ninja', '-t', name], cwd=self.build, capture_output=True, text=True, check=True).stdout
        self.commands = {entry['output']: entry['command'] for entry in json.loads(tool('compdb'))}
        self.files, unit = {}, ''  # the files that a kernel's object is made of
        for line in tool('deps').splitlines():
            if line.startswith(' ') and 'actium_emulated.dir' in unit and unit.endswith('.cu.o'):
                self.files.setdefault(unit, set()).add(os.path.normpath(self.build / line.strip()))
            elif line:
                unit = line.split(':')[0]

    def units(self, file):
        return sorted(u for u, files in self.files.items() if str(self.root / file) in files and pathlib.Path(u).name.startswith(SUITES))

    def make(self, units, folder):
        """Compiles `units` from folder/kernels and links the library there; False where they do not compile."""
        objects, link = [], self.commands[LIBRARY]
        for unit in units:
            objects.append(folder / (pathlib.Path(unit).name + '.sanitized' * self.sanitized))
            command = self.commands[unit].replace(f'{self.root}/kernels', f'{folder}/kernels')
            command = re.sub(r'-M[TF] \S+|-MD', '', command).replace(f'-o {unit}', f'-w -I{folder} -o {objects[-1]}')
            command = command.replace('-I', f'-I{folder} -I', 1)
            if not objects[-1].exists() and shell(command, self.build)[0] != 0:
                return False
            link = link.replace(f' {unit} ', ' ')
        # First of all, so that functions which several objects have are the mutated ones.
        status, output = shell(link.replace(f'-o {LIBRARY}', ' '.join(map(str, [f'-o {folder}/libactium_emulated.so', *objects]))), self.build)
        return status == 0 or sys.exit(output)

    def suites(self, units):
        names = {SUITE_OF[next(start for start in SUITES if pathlib.Path(unit).name.startswith(start))] for unit in units}
        names |= {'elementwise_kernels'} if 'activation' in names else set()  # strides
        return [s for s in dict.fromkeys(SUITE_OF.values()) if s in names]

    def checks(self, units):
        """(suite, environment) of every check, the quickest to fail first."""
        suites = self.suites(units)
        checks = [(s, QUICK | order) for order in ORDERS for s in suites]
        others = ['schedules', 'large', 'kernel_gaps', *(more for s in suites for more in MORE_OF.get(s, ()))]
        full = [] if self.sanitized else [(s, FORWARD) for s in suites]
        return checks + [(s, QUICK | FORWARD) for s in others] + full

    def failure(self, folder, check):
        """Why a check does not pass over the library in `folder`; None where it does."""
        suite, env = check
        start, name = time.monotonic(), (suite, *env.values())
        cases = '*/emulated*' if suite in FOR_DEVICES else '*'
        status, output = shell([f'tests/{suite}_emulated_test', '--gtest_brief=1', '--gtest_fail_fast', f'--gtest_filter={cases}'],
                               self.build, self.limits.get(name, 600), {'LD_LIBRARY_PATH': str(folder), 'TSAN_OPTIONS': 'halt_on_error=1', **env})
        if status == 0:
            self.limits.setdefault(name, 30 + 10 * (time.monotonic() - start))
            return None
        if status == 127:  # the loader's: nothing was tested
            sys.exit(output)
        if status is None:
            return 'timeout'
        by_order = suite == 'schedules' or env['ACTIUM_EMULATOR_SCHEDULE'] != 'forward'
        return next((kind for sign, kind in SIGNS if sign in output), 'crash' if status < 0 else 'schedule' if by_order else 'value')


def verdict(trees, mutant):
    with tempfile.TemporaryDirectory(prefix='mutant') as name:
        folder = pathlib.Path(name)
        shutil.copytree(trees[0].root / 'kernels', folder / 'kernels')
        (folder / mutant.file).write_text(mutant.text)
        for tree in trees:
            # First what is quick to compile and the checks most likely to fail; of the others f64 is like f32.
            units = [u for u in tree.units(mutant.file) if not re.search(ALIKE, u)]
            stages = [[u for u in units if '_f32' in u][-1:], [u for u in units if '/activation_' not in u]]
            for some in (units,) if tree.sanitized else [s for s in stages if s and s != units] + [units]:
                if not tree.make(some, folder):
                    return 'uncompilable', ''
                for suite, env in tree.checks(some)[:None if some == units else len(tree.suites(some))]:
                    if kind := tree.failure(folder, (suite, env)):
                        return kind, suite
    return 'survived', ''


def self_check(trees, pool):
    """Unmutated code passes everything over a library made the same way, and a hopeless mutant dies."""
    file = 'kernels/simt.cuh'
    text = (trees[0].root / file).read_text()
    for tree in trees:
        with tempfile.TemporaryDirectory(prefix='mutant') as name:
            shutil.copytree(tree.root / 'kernels', f'{name}/kernels')
            assert tree.make([u for u in tree.units(file) if '_f32' in u][-1:], pathlib.Path(name)), 'does not compile'
            loaded = shell(['tests/softmax_emulated_test'], tree.build, 60, {'LD_TRACE_LOADED_OBJECTS': '1', 'LD_LIBRARY_PATH': name})[1]
            assert f'{name}/libactium_emulated.so' in loaded, 'the tests do not load the mutated library'
            checks = tree.checks(tree.units(file))
            for check, kind in zip(checks, pool.map(lambda check: tree.failure(name, check), checks)):
                assert kind is None, f'{check[0]} fails without a mutation ({kind}): {check[1]}'
    hopeless = text.replace('*static_cast<uint4*>(p) = v;', ';')
    assert hopeless != text and verdict(trees[:1], Mutant(file, 0, '', '', hopeless))[0] in KINDS, 'the hopeless mutant lives'


# ---------------------------------------------------------------- main

def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('build')
    parser.add_argument('--count', type=int, default=20, help='mutants that compile')
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('--files', default='kernels/*', help='only mutants of these, as kernels/softmax/*')
    parser.add_argument('--jobs', type=int, default=1)
    parser.add_argument('--minutes', type=float, default=1e9, help='start no mutant after this time')
    parser.add_argument('--report', help='write the output here too')
    parser.add_argument('--asan', help='a tree with ACTIUM_SANITIZE=address,undefined, for survivors')
    parser.add_argument('--tsan', help='a tree with ACTIUM_SANITIZE=thread, for survivors')
    parser.add_argument('--known', action='store_true', help='only the mutants that docs/mutation.md lists, which are left out otherwise')
    arguments = parser.parse_args()
    start, report = time.monotonic(), open(arguments.report or os.devnull, 'w')

    def say(text):
        for stream in (sys.stdout, report):
            print(text, file=stream, flush=True)

    trees = [Tree(path, path != arguments.build) for path in (arguments.build, arguments.asan, arguments.tsan) if path]
    known, candidates = known_equivalents(trees[0].root), choose(trees[0].root, arguments.files, arguments.seed)
    listed = [m for m in candidates if m[:1] + m[2:4] in known]
    say(f'{len(candidates)} mutants of {len({m.file for m in candidates})} files, {len(listed)} known to be equivalent, seed {arguments.seed}')
    candidates = listed if arguments.known else [m for m in candidates if m not in listed]

    table, uncompilable, queue = collections.defaultdict(collections.Counter), 0, iter(candidates)
    in_time = lambda: time.monotonic() - start < 60 * arguments.minutes
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        self_check(trees, pool)
        say(f'self-check passed after {time.monotonic() - start:.0f} s')
        done, batch = 0, [None]
        while done < arguments.count and batch and in_time():
            batch = [m for _, m in zip(range(arguments.count - done), queue)]
            for mutant, (kind, suite) in zip(batch, pool.map(lambda m: verdict(trees, m) if in_time() else ('', ''), batch)):
                why = known.get((mutant.file, mutant.old, mutant.new)) if kind == 'survived' else None
                uncompilable += kind == 'uncompilable'
                if kind in KINDS + ['survived']:
                    done += 1
                    table[mutant.file]['equivalent' if why else kind] += 1
                    outcome = f'survived, known equivalent: {why}' if why else f'killed: {kind}, by {suite}' if kind in KINDS else 'SURVIVED'
                    say(f'{mutant.file}:{mutant.line}\n  - {mutant.old}\n  + {mutant.new}\n  = {outcome}')

    total = sum(table.values(), collections.Counter())
    for name, row in [('', None), *sorted(table.items()), ('all', total)]:
        say(f'{name:46}' + ''.join(f'{row[c] if row is not None else c:>11}' for c in KINDS + ['survived', 'equivalent']))
    killed = sum(total[kind] for kind in KINDS)
    score = killed / max(1, killed + total['survived'])
    say(f'{done} mutants, {uncompilable} more did not compile; {killed} of {killed + total["survived"]} that are not equivalent '
        f'killed: {100 * score:.1f} %; {(time.monotonic() - start) / 60:.1f} minutes')
    return 0 if total['survived'] == 0 and score >= 0.95 else 1


if __name__ == '__main__':
    sys.exit(main())
