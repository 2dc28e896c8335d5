"""Time per training step: the lessons against the plain way, PyTorch and JAX, side by side.

    pip install -r requirements-bench.txt
    python benchmarks/steps.py --csv results/steps/steps.csv --plot results/steps

Each variant trains the same network on the same letters in a process of its own; the processes take
turns, so that all meet the same machine. A peer that is not installed is skipped. The ceiling is a
large float32 matrix product, measured in turn with the rest; a variant's share of it counts the
arithmetic of its matrix products only. Seven rounds take about four minutes on two cores.
"""
import csv
import multiprocessing
import os
import sys
import time

import numpy as np

import runs
import step_variants
from step_variants import NETWORKS

CEILING = 'ceiling'
NAMES = {'ours': 'the lesson', 'plain': 'plain feed and fetch', 'torch': 'PyTorch, eager',
         'torch_compiled': 'PyTorch, compiled', 'jax': 'JAX, jit a step',
         'jax_scan': 'JAX, scan, no Python between steps'}


def work(pipe, network, variant):
    """A process: make the variant, then train so many steps as often as asked; say how long."""
    try:
        train, loss = getattr(step_variants, variant)(network)
    except ImportError as error:
        pipe.send(str(error))
        return
    pipe.send(None)
    for steps in iter(pipe.recv, 0):
        start = time.perf_counter()
        train(steps)
        pipe.send((time.perf_counter() - start) / steps)
    pipe.send(loss())


def start(network, variant):
    """Start a variant's process and warm it up; returns our end of its pipe, or None."""
    ours, theirs = context.Pipe()
    context.Process(target=work, args=(theirs, network, variant), daemon=True).start()
    problem = ours.recv()
    if problem:
        print('%s: skipped (%s)' % (NAMES[variant], problem))
        return None
    turn(ours, 10)
    return ours


def turn(pipe, steps):
    """Let a process train so many steps; returns seconds per step."""
    pipe.send(steps)
    return pipe.recv()


def compare(network, variants, rounds, seconds):
    """Seconds per step {variant: [rounds]}, the ceiling's among them, and each one's final loss."""
    pipes = {name: pipe for name, pipe in ((name, start(network, name))
                                           for name in variants + [CEILING]) if pipe}
    steps = {name: max(2, int(seconds / turn(pipe, 10))) for name, pipe in pipes.items()}
    for name, pipe in pipes.items():
        turn(pipe, steps[name])  # a scan is compiled for its number of steps
    times = {name: [] for name in pipes}
    for _ in range(rounds):
        for name, pipe in pipes.items():
            times[name].append(turn(pipe, steps[name]))
    losses = {}
    for name, pipe in pipes.items():
        pipe.send(0)
        losses[name] = pipe.recv()
    return times, losses


def flops(sizes):
    """Operations of a step's matrix products."""
    return sum(operations for _, operations, *_ in step_variants.products(sizes))


def main():
    parser = runs.parser(__doc__, again=False)
    parser.add_argument('--rounds', type=int, default=7)
    parser.add_argument('--seconds', type=float, default=1.0, help='of each variant in a round')
    parser.add_argument('--only', nargs='+', choices=list(NETWORKS), default=list(NETWORKS))
    parser.add_argument('--variants', nargs='+', choices=list(NAMES), default=list(NAMES))
    parser.add_argument('--csv', metavar='FILE')
    parser.add_argument('--plot', metavar='DIR', help='draw steps.png there')
    flags = parser.parse_args()
    rows = []
    print('| network | variant | µs a step | of ours | share of the ceiling | loss after |')
    print('|---|---|---|---|---|---|')
    for network in flags.only:
        times, losses = compare(network, flags.variants, flags.rounds, flags.seconds)
        medians = {name: np.median(values) for name, values in times.items()}
        ceiling = step_variants.CEILING_FLOPS / medians.pop(CEILING)  # operations a second
        for name, median in medians.items():
            # Of the same round: what slows the machine down for a while slows both.
            ratio = (np.median(np.divide(times[name], times['ours'])) if 'ours' in times
                     else float('nan'))
            share = flops(NETWORKS[network].sizes) / median / ceiling
            rows.append([network, name, '%.1f' % (1e6 * median), '%.3f' % ratio, '%.3f' % share])
            print('| %s | %s | %.0f | %.2f | %.2f | %.3f |' % (
                network, NAMES[name], 1e6 * median, ratio, share, losses[name]), flush=True)
        print('%s: the ceiling is %.0f GFLOP/s' % (network, ceiling / 1e9), file=sys.stderr)
    if flags.csv:
        with open(flags.csv + '.part', 'w', newline='') as file:
            csv.writer(file).writerows([['network', 'variant', 'us_per_step_median',
                                         'ratio_to_ours', 'ceiling_share']] + rows)
        os.replace(flags.csv + '.part', flags.csv)
    if flags.plot:
        import plots
        plots.steps(flags.plot, rows, NAMES)


if __name__ == '__main__':
    context = multiprocessing.get_context('spawn')
    main()
