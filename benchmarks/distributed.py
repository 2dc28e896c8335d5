"""Steps and images per second of distributed.py with 1, 2 and 3 workers, and of deep_nn.py.

    python benchmarks/distributed.py

Each is run in turn, five rounds long, and timed between the first and the last line of its log: 300
steps. Prints the medians; the raw logs stay under results/distributed/speed.
"""
import re
import statistics

import runs

STEPS, ROUNDS, BATCH_SIZE = 301, 5, 128
LENGTH = ' --steps %d --report-every %d' % (STEPS, STEPS)
VARIANTS = {'deep_nn.py': (1, 'deep_nn.py --layers 6 --dropout --l2 0.001' + LENGTH)}
VARIANTS.update({'%d workers' % n: (n, 'distributed.py --local %d' % n + LENGTH)
                 for n in (1, 2, 3)})


def steps_per_second(text):
    """In a log, between its first line of a step and its last."""
    times = [float(seconds) for seconds in re.findall(r' ([\d.]+)s$', text, re.M)]
    return (STEPS - 1) / (times[-1] - times[0])


def main():
    again = runs.parser(__doc__).parse_args().again
    rates = {name: [] for name in VARIANTS}
    for turn in range(ROUNDS):
        for name, (_, command) in VARIANTS.items():
            text = runs.log(command, 'distributed/speed',
                            '%s.round%d' % (name.replace(' ', '_'), turn + 1), again)
            rates[name].append(steps_per_second(text))
    print('| | steps/s | images/s |\n|---|---|---|')
    for name, (workers, _) in VARIANTS.items():
        median = statistics.median(rates[name])
        print('| %s | %.1f (%.1f to %.1f) | %.0f |' % (
            name, median, min(rates[name]), max(rates[name]), median * workers * BATCH_SIZE))


if __name__ == '__main__':
    main()
