"""Run transfer.py with several seeds, print its table and draw it; logs go to results/transfer.

    python benchmarks/transfer.py                   letters, seeds 1 2 3: about two minutes
    python benchmarks/transfer.py --data mnist

A log that is already there is used again, unless --again is given.
"""
import os
import re

import numpy as np

import runs

LINE = re.compile(r'^ *(\d+) labels  (.*?) +test accuracy .*\((\d+)/(\d+)\)  training ([\d.]+)s',
                  re.M)


def main():
    parser = runs.parser(__doc__)
    parser.add_argument('--data', default='letters', help='as in every lesson')
    parser.add_argument('--seeds', type=int, nargs='+', default=[1, 2, 3], help='two or more')
    flags = parser.parse_args()
    name = runs.stem(flags.data)
    tables = [LINE.findall(runs.log('transfer.py --data %s --seed %d' % (flags.data, seed),
                                    'transfer', '%s.seed%d' % (name, seed), flags.again))
              for seed in flags.seeds]  # rows (labels, way, right, total, seconds), all strings
    labels = list(dict.fromkeys(row[0] for row in tables[0]))
    ways = list(dict.fromkeys(row[1] for row in tables[0]))
    numbers = np.array([[[float(x) for x in row[2:]] for row in rows] for rows in tables])
    shape = (len(tables), len(labels), len(ways))
    accuracy = (100 * numbers[..., 0] / numbers[..., 1]).reshape(shape)      # percent
    seconds = numbers[..., 2].reshape(shape).min(0)  # the others may have had company
    mean, deviation = accuracy.mean(0), accuracy.std(0, ddof=1)              # [labels, ways]
    print('| |%s' % ''.join(' %s labels | time |' % count for count in labels))
    print('|---|%s' % ('---|---|' * len(labels)))
    for i, way in enumerate(ways):
        print('| %s |%s' % (way, ''.join(' %.1f ± %.1f | %.2f s |' % (
            mean[j, i], deviation[j, i], seconds[j, i]) for j in range(len(labels)))))
    import plots
    folder = os.path.join(runs.RESULTS, 'transfer')
    print(plots.few_labels(folder, name, ways, labels, mean, deviation))


if __name__ == '__main__':
    main()
