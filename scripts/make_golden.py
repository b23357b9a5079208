#!/usr/bin/env python3
"""Writes tests/golden/activations.csv: activations and slopes from their plain definitions, in 500 digits.

    python3 scripts/make_golden.py                # needs mpmath

The definitions are the textbook ones, cancellation and all (500 digits outlast it), and the slopes are numerical
derivatives: nothing here is shared with actium's formulas.
"""
import pathlib

from mpmath import diff, erf, exp, log, mp, mpf, nstr, pi, sin, sqrt

mp.dps = 500
OUTPUT = pathlib.Path(__file__).resolve().parent.parent / 'tests/golden/activations.csv'


def sigmoid(x):
    return 1 / (1 + exp(-x))


def tanh(x):
    return (exp(x) - exp(-x)) / (exp(x) + exp(-x))


def softplus(x):
    return log(1 + exp(x))


def clamp(x, lo, hi):
    return min(max(x, mpf(lo)), mpf(hi))


def elu(x):
    return x if x > 0 else exp(x) - 1


SELU_SCALE, SELU_ALPHA = mpf('1.0507009873554804934193349852946'), mpf('1.6732632423543772848170429916717')
# At the default parameters, which are doubles: mpf(0.8) is the double 0.8, mpf('0.8') the decimal.
ACTIVATIONS = {
    'identity': lambda x: x,
    'sigmoid': sigmoid,
    'tanh': tanh,
    'relu': lambda x: max(x, mpf(0)),
    'leaky_relu': lambda x: x if x > 0 else mpf(0.01) * x,  # the double 0.01, as the library takes it
    'softplus': softplus,
    'gelu': lambda x: x / 2 * (1 + erf(x / sqrt(mpf(2)))),
    'gelu_tanh': lambda x: x / 2 * (1 + tanh(sqrt(2 / pi) * (x + mpf('0.044715') * x**3))),
    'silu': lambda x: x * sigmoid(x),
    'mish': lambda x: x * tanh(softplus(x)),
    'relu6': lambda x: clamp(x, 0, 6),
    'prelu': lambda x: x if x > 0 else mpf(0.25) * x,
    'relu_squared': lambda x: max(x, mpf(0))**2,
    'threshold': lambda x: x if x > 0 else mpf(0),
    'hardtanh': lambda x: clamp(x, -1, 1),
    'hardsigmoid': lambda x: clamp(x + 3, 0, 6) / 6,
    'hardswish': lambda x: x * clamp(x + 3, 0, 6) / 6,
    'hardshrink': lambda x: x if abs(x) > 0.5 else mpf(0),
    'softshrink': lambda x: x - clamp(x, -0.5, 0.5),
    'softsign': lambda x: x / (1 + abs(x)),
    'squareplus': lambda x: (x + sqrt(x**2 + 4)) / 2,
    'exp': exp,
    'elu': elu,
    'celu': elu,
    'selu': lambda x: SELU_SCALE * (x if x > 0 else SELU_ALPHA * (exp(x) - 1)),
    'xielu': lambda x: mpf(0.8) * (x**2 if x > 0 else exp(x) - 1 - x) + mpf(0.5) * x,
    'log_sigmoid': lambda x: log(sigmoid(x)),
    'tanhshrink': lambda x: x - tanh(x),
    'swish': lambda x: x * sigmoid(x),
    'quick_gelu': lambda x: x * sigmoid(mpf('1.702') * x),
    'erf': erf,
    'sine': sin,
    'snake': lambda x: x + sin(x)**2,
}
# Below these points 1 + erf and 1 + tanh lose even 500 digits; the results are far below the smallest double.
LOWEST = {'gelu': -40, 'gelu_tanh': -25}
# No slope by differences at these kinks, nor of an erf that is 1 to 500 digits.
SKIPPED = {'hardtanh': ('-1', '1'), 'hardshrink': ('-0.5', '0.5'), 'softshrink': ('-0.5', '0.5'),
           'erf': ('-80', '-37.5', '37.5', '80')}
# Exact in binary, so that the decimal text is the number.
POINTS = ['-80', '-37.5', '-20', '-12.5', '-9', '-6', '-5', '-4', '-3.125', '-2', '-1.25', '-1', '-0.75', '-0.5', '-0.125',
          '-0.0009765625', '0.0009765625', '0.125', '0.5', '0.75', '1', '1.5', '2', '3.125', '4', '5', '6.5', '9', '12.5', '20', '37.5',
          '80']


def main():
    lines = ['activation,x,value,slope']
    for name, f in ACTIVATIONS.items():
        for text in POINTS:
            x = mpf(text)
            if x < LOWEST.get(name, -mp.inf) or text in SKIPPED.get(name, ()):
                continue
            lines.append(f'{name},{text},{nstr(f(x), 50)},{nstr(diff(f, x), 50)}')
    OUTPUT.parent.mkdir(exist_ok=True)
    OUTPUT.write_text('\n'.join(lines) + '\n')


if __name__ == '__main__':
    main()
