#!/usr/bin/env python3
"""Computes the polynomials of include/actium/device/coefficients.cuh and writes that file.

    python3 scripts/make_coefficients.py          # a few seconds; needs mpmath and clang-format

Each polynomial approximates a smooth function on an interval with nearly the smallest possible largest relative
error: a least-squares fit, weighted by 1/f, on Chebyshev nodes. The coefficients are then rounded to the target type one
after the other, from the constant term upward, and the rest is fitted again each time, so that later coefficients
absorb the rounding of earlier ones. The largest relative error of the rounded polynomial is printed and written
next to it.
"""
import pathlib
import subprocess

from mpmath import (cos, erf, erfc, exp, findroot, floor, ldexp, log, log1p, lu_solve, matrix, mp, mpf, nstr, pi, sin,
                    sqrt, tanh)

mp.dps = 70
OUTPUT = pathlib.Path(__file__).resolve().parent.parent / 'include/actium/device/coefficients.cuh'


def round_to(value, bits):
    """The nearest number with `bits` significant bits, ties to even."""
    if value == 0:
        return mpf(0)
    mantissa, exponent = mp.frexp(value)
    return ldexp(mp.nint(ldexp(mantissa, bits)), exponent - bits)


def hex_literal(value, bits):
    text = float(value).hex()
    mantissa, exponent = text.split('p')
    whole, _, fraction = mantissa.partition('.')
    fraction = fraction.rstrip('0')
    return f"{whole}{'.' + fraction if fraction else ''}p{exponent}{'f' if bits == 24 else ''}"


def fit(function, low, high, degree, bits, unit=None):
    """Rounded coefficients, constant term first, and their largest error on [low, high] relative to f or to unit(x)."""
    unit = unit or function
    count = 2 * (degree + 1)  # even, so that no node lies at the centre, where f may be a 0/0
    nodes = [(low + high) / 2 + (high - low) / 2 * cos(pi * (2 * i + 1) / (2 * count)) for i in range(count)]
    values = [function(x) for x in nodes]
    units = [unit(x) for x in nodes]
    fixed = []
    while len(fixed) <= degree:
        first = len(fixed)
        rows = matrix(count, degree + 1 - first)
        rest = matrix(count, 1)
        for i, (x, f, u) in enumerate(zip(nodes, values, units)):
            power = x**first / u
            for j in range(degree + 1 - first):
                rows[i, j] = power
                power *= x
            rest[i] = (f - sum(c * x**k for k, c in enumerate(fixed))) / u
        fixed.append(round_to(lu_solve(rows, rest)[0], bits))
    dense = [low + (high - low) * (mpf(i) + mpf('0.37')) / 401 for i in range(401)]
    error = max(abs((sum(c * x**k for k, c in enumerate(fixed)) - function(x)) / unit(x)) for x in dense)
    return fixed, error


# The functions.

def exp_tail(r):
    return (exp(r) - 1 - r) / r**2


def log1p_tail(x):
    return (log1p(x) - x) / x**2


def log1p_ratio(x):
    return log1p(x) / x


def sigmoid(x):
    return 1 / (1 + exp(-x))


def silu_slope(x):
    return sigmoid(x) * (1 + x * (1 - sigmoid(x)))


C1 = 2 * sqrt(2 / pi)  # gelu_tanh(x) = x sigmoid(C1 x + C3 x^3)
C3 = C1 * mpf('0.044715')


def gelu_tanh_slope(x):
    s = sigmoid(C1 * x + C3 * x**3)
    return s + x * (C1 + 3 * C3 * x**2) * s * (1 - s)


def silu_curvature(x):
    return sigmoid(x) * sigmoid(-x) * (2 - x * tanh(x / 2))


def gelu_tanh_curvature(x):
    z, slope = C1 * x + C3 * x**3, C1 + 3 * C3 * x**2
    return sigmoid(z) * sigmoid(-z) * (2 * C1 + 12 * C3 * x**2 - x * slope**2 * tanh(z / 2))


def tanhshrink_factor(z):
    x = sqrt(z)
    return (x - tanh(x)) / x**3


def mish_slope(x):
    u = exp(x)
    d = 2 + 2 * u + u * u
    return u * ((u + 2) * d + 4 * x * (1 + u)) / d**2


def scaled_tail(t):
    """Phi(-t) exp(t^2 / 2): the normal tail without its decay."""
    return exp(t * t / 2) * erfc(t / sqrt(2)) / 2


GELU_ROOT = findroot(lambda t: scaled_tail(t) - t / sqrt(2 * pi), mpf('0.7518'))


def gelu_variable(bits):
    """stretch, shift, largest: w = 1 - stretch / (t + shift) maps t in [0, largest] to an interval round 0.

    Where t is small, |w| is below 1/2 and the functions below change little with it: there the rounding of w shows in
    gelu's monotonicity. The shifts make the constant terms of both polynomials nearly representable, which would limit their
    accuracy otherwise.
    """
    return [mpf(number) for number in {24: ('4', '2.2431640625', '14.8'),
                                       53: ('8', '4.5', '39')}[bits]]


def gelu_tail(w, bits):
    stretch, shift, _ = gelu_variable(bits)
    t = stretch / (1 - w) - shift
    return scaled_tail(t) * (t + shift)


def gelu_slope(w, bits):
    stretch, shift, _ = gelu_variable(bits)
    t = stretch / (1 - w) - shift
    return (scaled_tail(t) - t / sqrt(2 * pi)) / (GELU_ROOT - t)


def exp2_tail(f):
    return (mpf(2)**f - 1) / f


def erf_tail(s):
    """erf(x) / x - 1 for s = x^2."""
    return erf(sqrt(s)) / sqrt(s) - 1


def erfc_log2(u):
    return log(erfc(u + mpf('2.5')), 2)


def sine_tail(z):
    """(sin(r) - r) / r^3 for z = r^2."""
    return (sin(sqrt(z)) - sqrt(z)) / sqrt(z)**3


def cosine_tail(z):
    """(cos(r) - 1 + r^2 / 2) / r^4 for z = r^2."""
    return (cos(sqrt(z)) - 1 + z / 2) / z**2


def main():
    lines = [
        '#pragma once',
        '/// GENERATED by scripts/make_coefficients.py: do not edit, run `python3 scripts/make_coefficients.py`.',
        '/// Polynomial coefficients, constant term first, and the roots of the slopes as hi + lo.',
        '#include <actium/device/intrinsics.cuh>',
        '#include <cstdint>',
        '',
        'namespace actium::device::coefficients {',
    ]

    def structure(name, comment, members, types=((24, 'float'), (53, 'double'))):
        lines.extend(['', f'/// {comment}', 'template <class T>', f'struct {name};'])
        for bits, type_name in types:
            lines.extend(['template <>', f'struct {name}<{type_name}> {{'])
            lines.extend(members(bits, type_name))
            lines.append('};')

    def structure_16(name, comment, members):
        """For results of 16 bits: in float only."""
        lines.extend(['', f'/// {comment}; for results of 16 bits', f'struct {name} {{', *members(24, 'float'), '};'])

    def values(function, interval, degrees, unit=None):
        def members(bits, type_name):
            degree = degrees[bits]
            low, high = interval(bits) if callable(interval) else interval
            fixed, error = fit(lambda x: function(x, bits), mpf(low), mpf(high), degree, bits, unit)
            kind = 'error, in units of the result,' if unit else 'relative error'
            print(f'{type_name}: degree {degree}, {kind} 2^{nstr(log(error, 2), 4)}', flush=True)
            return ([f'// largest {kind} 2^{nstr(log(error, 2), 4)}',
                     f'static constexpr {type_name} values[] = {{'
                     + ', '.join(hex_literal(c, bits) for c in fixed) + '};'])
        return members

    structure('ExpTail', '(exp(r) - 1 - r) / r^2 for |r| <= ln(2) / 2',
              values(lambda r, _: exp_tail(r), (-log(2) / 2 * mpf('1.001'), log(2) / 2 * mpf('1.001')), {24: 5, 53: 10}))
    structure('Log1pRatio', 'log1p(1 - a) / (1 - a) - 3/4 for 0 <= a <= 1',
              values(lambda a, _: log1p_ratio(1 - a) - mpf(3) / 4, (0, 1), {24: 9, 53: 22},
                     lambda a: log1p_ratio(1 - a)))

    # Functions of the normal distribution.
    def erfc_log2_members(bits, type_name):
        largest, degree = {24: ('4', 6), 53: ('5.96875', 18)}[bits]
        members = values(lambda u, _: erfc_log2(u), (mpf('-1.5'), mpf(largest) - mpf('2.5')), {bits: degree},
                         lambda u: 1 / erfc(u + mpf('2.5')))
        decayed = {24: '10.5', 53: '27.5'}[bits]
        return [f'// exp(-x^2) rounds to 0 beyond `decayed`',
                f'static constexpr {type_name} largest = {hex_literal(round_to(mpf(largest), bits), bits)};',
                f'static constexpr {type_name} decayed = {hex_literal(round_to(mpf(decayed), bits), bits)};'
                ] + members(bits, type_name)

    def split(number):
        def members(bits, type_name):
            high = round_to(number, bits)
            return [f'static constexpr {type_name} hi = {hex_literal(high, bits)};',
                    f'static constexpr {type_name} lo = {hex_literal(round_to(number - high, bits), bits)};']
        return members

    structure('SquareRootOfTwo', 'sqrt(2)', split(sqrt(2)))
    structure('DecayTail', '(exp(r) - 1 - r) / r^2 for |r| <= ln(2) / 2, where its error is one of exp(r)',
              values(lambda r, _: exp_tail(r), (-log(2) / 2 * mpf('1.001'), log(2) / 2 * mpf('1.001')), {24: 4, 53: 10},
                     lambda r: exp(r) / r**2))
    structure('Exp2Tail', '(2^f - 1) / f for |f| <= 1/2',
              values(lambda f, _: exp2_tail(f), (mpf('-0.5005'), mpf('0.5005')), {24: 5, 53: 11}))
    structure('ErfTail', 'erf(x) / x - 1 in x^2, 0 <= x <= 1',
              values(lambda s, _: erf_tail(s), (0, 1), {24: 6, 53: 12}, lambda s: 1 + erf_tail(s)))
    structure_16('ErfTail16', 'ErfTail', values(lambda s, _: erf_tail(s), (0, 1), {24: 4}, lambda s: 1 + erf_tail(s)))
    structure_16('ErfcLog216', 'ErfcLog2', values(lambda u, _: erfc_log2(u), (mpf('-1.5'), mpf('1.5')), {24: 4},
                                                 lambda u: 1 / erfc(u + mpf('2.5'))))
    structure('ErfcLog2', 'log2(erfc(t)) in t - 2.5, 1 <= t <= largest, beyond which erf rounds to 1',
              erfc_log2_members)
    def gelu_interval(bits):
        stretch, shift, largest = gelu_variable(bits)
        return 1 - stretch / shift, 1 - stretch / (largest + shift)

    def gelu_constants(bits, type_name):
        rows = zip(('stretch', 'shift', 'largest'), gelu_variable(bits))
        return [f'static constexpr {type_name} {name} = {hex_literal(round_to(value, bits), bits)};'
                for name, value in rows]

    structure('GeluVariable', 'w = 1 - stretch / (t + shift), in which the two functions below are smooth.',
              gelu_constants)
    structure('GeluTail', 'Phi(-t) exp(t^2 / 2) (t + shift) in w, 0 <= t <= largest; Phi: normal distribution function',
              values(gelu_tail, gelu_interval, {24: 10, 53: 23}))
    structure_16('GeluTail16', 'GeluTail', values(gelu_tail, gelu_interval, {24: 7}))
    structure_16('GeluSlope16', 'GeluSlope', values(gelu_slope, gelu_interval, {24: 6}))
    structure('GeluSlope', '(Phi(-t) - t phi(t)) exp(t^2 / 2) / (root - t) in w, 0 <= t <= largest',
              values(gelu_slope, gelu_interval, {24: 9, 53: 22}))

    def root_members(slope, start, radius, degrees):
        root = findroot(slope, mpf(start))

        def members(bits, type_name):
            high = round_to(root, bits)
            low = round_to(root - high, bits)
            fitted = values(lambda c, _: slope(high + c) / (high + c - root), (-mpf(radius), mpf(radius)), degrees)
            return [f'static constexpr {type_name} root_hi = {hex_literal(high, bits)};',
                    f'static constexpr {type_name} root_lo = {hex_literal(low, bits)};',
                    f'static constexpr {type_name} radius = {hex_literal(round_to(mpf(radius), bits), bits)};'
                    ] + fitted(bits, type_name)
        return members

    comment = "slope(x) / (x - root) in c = x - root_hi, |c| <= radius, round the zero of the slope of {}"
    structure('SiluRoot', comment.format('silu'), root_members(silu_slope, '-1.278', '0.4', {24: 6, 53: 14}))

    def silu_root_rest(bits, type_name):
        rest = findroot(silu_slope, mpf('-1.278'))
        for _ in range(2):
            rest -= round_to(rest, bits)
        return [f'static constexpr {type_name} rest = {hex_literal(round_to(rest, bits), bits)};']

    structure('SiluRootRest', 'What root_hi + root_lo leaves out of the zero of the slope of silu.', silu_root_rest, ((53, 'double'),))
    structure('GeluTanhRoot', comment.format('gelu_tanh'), root_members(gelu_tanh_slope, '-0.753', '0.4375', {24: 9, 53: 17}))
    structure_16('MishRoot16', 'MishRoot', root_members(mish_slope, '-1.19', '0.0625', {24: 3}))
    structure('MishRoot', comment.format('mish'), root_members(mish_slope, '-1.19', '0.35', {24: 7, 53: 14}))

    structure('GeluRoot', 'The t > 0 at which Phi(-t) = t phi(t): minus the zero of the slope of gelu.',
              split(GELU_ROOT))

    # The argument of gelu_tanh's sigmoid. The leading part of C1 has few enough bits that C1 - (C1 + C3 x^2) is exact.
    def cubic(bits, type_name):
        leading = ldexp(mp.nint(ldexp(C1, 20 if bits == 24 else 47)), -20 if bits == 24 else -47)
        third = round_to(C3, bits)
        rows = [('linear_hi', leading), ('linear_lo', round_to(C1 - leading, bits)), ('cubic_hi', third),
                ('cubic_lo', round_to(C3 - third, bits)), ('largest', mpf('11.25') if bits == 24 else mpf('21.75'))]
        return [f'static constexpr {type_name} {name} = {hex_literal(value, bits)};' for name, value in rows]

    structure('GeluTanhCubic', '2 sqrt(2 / pi) (x + 0.044715 x^3) = linear x + cubic x^3; beyond `largest` the sigmoid is 0 or 1.',
              cubic)

    # The logistic family. Structures named ...16 serve f16 and bf16 results.
    float_only = ((24, 'float'),)
    structure('Log1pTail16', '(log1p(x) - x) / x^2 for 0 <= x <= 1',
              values(lambda x, _: log1p_tail(x), (0, 1), {24: 6}), float_only)
    structure('TanhTail16', '(tanh(x) - x) / x^3 in x^2, |x| <= 1/4',
              values(lambda z, _: -tanhshrink_factor(z), (0, mpf(1) / 16), {24: 1}), float_only)
    structure('Tanhshrink', '(x - tanh(x)) / x^3 in x^2, |x| <= 1',
              values(lambda z, _: tanhshrink_factor(z), (0, 1), {24: 7, 53: 15}))
    structure('Tanhshrink16', '(x - tanh(x)) / x^3 in x^2, |x| <= 3/4',
              values(lambda z, _: tanhshrink_factor(z), (0, mpf(9) / 16), {24: 4}), float_only)

    slope16 = "slope(x) / (x - root) in c = x - root_hi, |c| <= radius, for f16 and bf16 results"
    structure('SiluRoot16', slope16, root_members(silu_slope, '-1.278', '0.0625', {24: 2}), float_only)
    structure('GeluTanhRoot16', slope16, root_members(gelu_tanh_slope, '-0.753', '0.0625', {24: 3}), float_only)
    comment = "curvature(x) / (x - root) in c = x - root_hi, |c| <= radius, round the positive zero of the curvature of {}"
    structure('SiluCurvatureRoot', comment.format('silu'),
              root_members(silu_curvature, '2.4', '0.25', {24: 5, 53: 12}))
    structure('GeluTanhCurvatureRoot', comment.format('gelu_tanh'),
              root_members(gelu_tanh_curvature, '1.42', '0.46875', {24: 9, 53: 19}))
    structure('SiluCurvatureRoot16', comment.format('silu') + ', for f16 and bf16 results',
              root_members(silu_curvature, '2.4', '0.0625', {24: 2}), float_only)
    structure('GeluTanhCurvatureRoot16', comment.format('gelu_tanh') + ', for f16 and bf16 results',
              root_members(gelu_tanh_curvature, '1.42', '0.0625', {24: 3}), float_only)

    def quick_gelu(bits, type_name):
        beta = mpf('1.702')
        rows = []
        for name, value in (('', beta), ('root_', findroot(silu_slope, mpf('-1.278')) / beta)):
            high = round_to(value, bits)
            rows += [(name + 'hi', high), (name + 'lo', round_to(value - high, bits))]
        return [f'static constexpr {type_name} {name} = {hex_literal(value, bits)};' for name, value in rows]

    structure('QuickGelu', '1.702, and the zero of the slope of quick_gelu', quick_gelu)

    # The exponential family.
    structure('XieluTail16', '(exp(r) - 1 - r) / r^2 for |r| <= 3/8, for f16 and bf16 results of xielu',
              values(lambda r, _: exp_tail(r), (mpf('-0.375'), mpf('0.375')), {24: 4}), float_only)
    structure('ExpTail16', '(exp(r) - 1 - r) / r^2 for |r| <= 1/4, for f16 and bf16 results',
              values(lambda r, _: exp_tail(r), (mpf('-0.25'), mpf('0.25')), {24: 3}), float_only)

    def selu_constants(bits, type_name):
        scale = mpf('1.0507009873554804934193349852946')
        scale_alpha = scale * mpf('1.6732632423543772848170429916717')
        rows = []
        for name, value in (('scale', scale), ('scale_alpha', scale_alpha)):
            high = round_to(value, bits)
            rows += [(name + '_hi', high), (name + '_lo', round_to(value - high, bits))]
        return [f'static constexpr {type_name} {name} = {hex_literal(value, bits)};' for name, value in rows]

    structure('SeluConstants', "The paper's scale, and scale * alpha, as hi + lo.", selu_constants)

    # Functions with a sine.
    square = (0, (pi / 4 * mpf('1.01'))**2)
    structure('SineTail', '(sin(r) - r) / r^3 in r^2, |r| <= pi / 4',
              values(lambda z, _: sine_tail(z), square, {24: 2, 53: 5}, lambda z: sin(sqrt(z)) / sqrt(z)**3))
    structure('CosineTail', '(cos(r) - 1 + r^2 / 2) / r^4 in r^2, |r| <= pi / 4',
              values(lambda z, _: cosine_tail(z), square, {24: 2, 53: 5}, lambda z: cos(sqrt(z)) / z**2))

    half_square = (0, (pi / 2 * mpf('1.01'))**2)
    structure_16('SineTail16', '(sin(r) - r) / r^3 in r^2, |r| <= pi / 2',
                 values(lambda z, _: sine_tail(z), half_square, {24: 3}, lambda z: sin(sqrt(z)) / sqrt(z)**3))

    def quarter_turn(bits, type_name):
        rest, rows = pi / 2, []
        for name in ('first', 'second', 'third'):
            part = round_to(rest, bits)
            rest -= part
            rows.append((name, part))
        rest = 2 / pi
        for name in ('inverse_first', 'inverse_second', 'inverse_third'):
            part = round_to(rest, bits)
            rest -= part
            rows.append((name, part))
        return [f'static constexpr {type_name} {name} = {hex_literal(value, bits)};' for name, value in rows]

    structure('QuarterTurn', 'pi / 2 = first + second + third, 2 / pi = inverse_first + ...', quarter_turn)
    mp.prec = 2400
    words = [0] + [int(floor(ldexp(2 / pi, 64 * i))) % 2**64 for i in range(1, 36)]
    mp.dps = 70
    lines.extend(['', '/// Word i of 2 / pi = 0.w1 w2 w3 ... in 64 bits; w0 = 0. A static array is no local memory.',
                  'ACTIUM_HD std::uint64_t two_over_pi_word(int i) {',
                  'static constexpr std::uint64_t kWords[] = {' + ', '.join(f'0x{w:016x}' for w in words) + '};',
                  'return kWords[i];', '}'])

    def gelu_tanh_16(bits, type_name):
        half = -log(mp.e, 2) / 2
        rows = [('exponent_linear', half * C1), ('exponent_cubic', half * C3), ('slope_linear', C1), ('slope_cubic', 3 * C3)]
        return [f'static constexpr {type_name} {name} = {hex_literal(round_to(value, bits), bits)};'
                for name, value in rows]

    structure('GeluTanh16', "gelu_tanh's z: -log2(e) / 2 z = x (exponent_linear + exponent_cubic x^2), z' = slope_linear + slope_cubic x^2",
              gelu_tanh_16, float_only)

    lines.extend(['', '}  // namespace actium::device::coefficients'])
    OUTPUT.write_text('\n'.join(lines) + '\n')
    subprocess.run(['clang-format', '-i', OUTPUT], check=True)


if __name__ == '__main__':
    main()
