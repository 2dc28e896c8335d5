"""Run transfer.py with several seeds, print its table and draw it; logs go to results/transfer.

    python benchmarks/transfer.py                   letters, seeds 1 2 3: about two minutes
    python benchmarks/transfer.py --data mnist

A log that is already there is used again, unless --again is given.
"""
import argparse
import os
import re
import subprocess
import sys

import numpy as np

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)
RESULTS = os.path.join(ROOT, 'results', 'transfer')
LINE = re.compile(r'^ *(\d+) labels  (.*?) +test accuracy .*\((\d+)/(\d+)\)  training ([\d.]+)s',
                  re.M)


def run(data, name, seed, again):
    """Run once, or read the log; returns rows (labels, way, right, total, seconds), all strings."""
    path = os.path.join(RESULTS, '%s.seed%d.log' % (name, seed))
    if again or not os.path.exists(path):
        words = ['transfer.py', '--data', data, '--seed', str(seed)]
        text = subprocess.run([sys.executable] + words, cwd=ROOT, check=True,
                              stdout=subprocess.PIPE, universal_newlines=True).stdout
        with open(path + '.part', 'w') as file:
            file.write('$ python %s\n%s' % (' '.join(words), text))
        os.replace(path + '.part', path)
    with open(path) as file:
        return LINE.findall(file.read())


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--data', default='letters', help='as in every lesson')
    parser.add_argument('--seeds', type=int, nargs='+', default=[1, 2, 3], help='two or more')
    parser.add_argument('--again', action='store_true', help='do not use logs that are there')
    flags = parser.parse_args()
    os.makedirs(RESULTS, exist_ok=True)
    name = os.path.basename(flags.data).split('.')[0]
    runs = [run(flags.data, name, seed, flags.again) for seed in flags.seeds]
    labels = list(dict.fromkeys(row[0] for row in runs[0]))
    ways = list(dict.fromkeys(row[1] for row in runs[0]))
    numbers = np.array([[[float(x) for x in row[2:]] for row in rows] for rows in runs])
    shape = (len(runs), len(labels), len(ways))
    accuracy = (100 * numbers[..., 0] / numbers[..., 1]).reshape(shape)      # percent
    seconds = numbers[..., 2].reshape(shape).min(0)  # the others may have had company
    mean, deviation = accuracy.mean(0), accuracy.std(0, ddof=1)              # [labels, ways]
    print('| |%s' % ''.join(' %s labels | time |' % count for count in labels))
    print('|---|%s' % ('---|---|' * len(labels)))
    for i, way in enumerate(ways):
        print('| %s |%s' % (way, ''.join(' %.1f ± %.1f | %.2f s |' % (
            mean[j, i], deviation[j, i], seconds[j, i]) for j in range(len(labels)))))
    import plots
    print(plots.few_labels(RESULTS, name, ways, labels, mean, deviation))


if __name__ == '__main__':
    main()
