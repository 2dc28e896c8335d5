"""Each remedy of notes 4 with and without it, same data, seeds, steps; prints the README's table.

    python benchmarks/remedies.py                        seeds 1 2 3: about twenty minutes
    python benchmarks/remedies.py --only dropout --seeds 1
    python benchmarks/remedies.py --plot results/remedies

Raw logs go to results/remedies; a log that is already there is used again, unless --again is given.
"""
import re

import numpy as np

import runs

RUN = 'deep_nn.py --steps 2001 --report-every 500 '
DEEP = '--layers 10 --hidden 256 --lr 0.1 --gradient-norms'  # deep enough to hurt
SIGMOID = DEEP + ' --activation sigmoid --init normal'
SMALL = '--layers 4 --hidden 256 --schedule constant'
LARGE = '--layers 4 --hidden 512 --schedule constant --steps 6001'  # enough to overfit
FAST = '--layers 4 --hidden 256 --schedule constant --steps 501'
ROWS = [  # remedy, what the notes say of it, flags without it, flags with it
    ('Xavier init, sigmoid', 'N(0, 1) saturates the sigmoid', SIGMOID,
     DEEP + ' --activation sigmoid --init xavier'),
    ('He init, ReLU', 'a start to fit each activation', DEEP + ' --init normal', DEEP),
    ('He init, uniform', 'normal is used more', DEEP, DEEP + ' --init he-uniform'),
    ('sigmoid to ReLU', 'flat ends stop learning', SIGMOID, DEEP),
    ('batch norm, sigmoid', 'keeps the signal in shape', SIGMOID, SIGMOID + ' --batch-norm'),
    ('batch norm, ReLU', 'keeps the signal in shape', DEEP, DEEP + ' --batch-norm'),
    ('leaky ReLU', 'no dead units', SMALL, SMALL + ' --activation leaky_relu'),
    ('ELU', 'better than ReLU', SMALL, SMALL + ' --activation elu'),
    ('standardise', 'SELU needs it', SMALL, SMALL + ' --standardise'),
    ('SELU, standardise', 'the newest', SMALL, SMALL + ' --standardise --activation selu'),
    ('clipping', 'stops exploding gradients', SMALL + ' --lr 3', SMALL + ' --lr 3 --clip 0.003'),
    ('momentum', 'faster than gradient descent', FAST, FAST + ' --optimizer momentum'),
    ('Nesterov', 'looks a step ahead', FAST, FAST + ' --optimizer nesterov'),
    ('AdaGrad', 'may stop too early', FAST, FAST + ' --optimizer adagrad'),
    ('RMSProp', 'AdaGrad that forgets', FAST, FAST + ' --optimizer rmsprop'),
    ('Adam', 'the least trouble; the default', FAST, FAST + ' --optimizer adam'),
    ('exponential schedule', 'large first, then small', LARGE,
     LARGE.replace('constant', 'exponential')),
    ('one-cycle schedule', 'not in the notes', LARGE, LARGE.replace('constant', 'one-cycle')),
    ('early stopping', 'stop when errors rise', SMALL + ' --steps 10001',
     SMALL + ' --steps 10001 --early-stopping 2000'),
    ('L1', 'against overfitting', LARGE, LARGE + ' --l1 0.00003'),
    ('L2', 'against overfitting', LARGE, LARGE + ' --l2 0.001'),
    ('dropout', 'test comes close to training', LARGE, LARGE + ' --dropout 0.5'),
    ('dropout, inputs too', 'test comes close to training', LARGE,
     LARGE + ' --dropout 0.5 --input-dropout 0.8'),
    ('max-norm', 'a steadier network', LARGE, LARGE + ' --max-norm 1.0'),
    ('label smoothing', 'not in the notes', LARGE, LARGE + ' --label-smoothing 0.1'),
    ('augmentation', 'more data, less overfitting', LARGE, LARGE + ' --augment'),
    ('default configuration', 'He, ELU, batch norm, dropout, Adam', LARGE,
     '--layers 4 --hidden 512 --steps 6001 --default-dnn'),
]


def run(flags, data, seed, again):
    """Run deep_nn.py with flags, or read its log; returns the log."""
    name = re.sub(r'[^\w.]+', '_', flags).strip('_')
    return runs.log('%s%s --data %s --seed %d' % (RUN, flags, data, seed),
                    'remedies/' + runs.stem(data), '%s.seed%d' % (name, seed), again)


def summary(logs):
    """'mean ± sd' of the test accuracy in percent, and of the steps where a run stopped early."""
    percent = [runs.test_accuracy(log) for log in logs]
    if None in percent:
        return 'diverges'
    text = '%.1f' % np.mean(percent)
    if len(logs) > 1:
        text += ' ± %.1f' % np.std(percent, ddof=1)
    if 'Early stopping' in logs[0]:
        steps = [int(re.findall(r'^step +(\d+)', log, re.M)[-1]) for log in logs]
        text += ', after %d steps' % np.mean(steps)
    return text


def gradient_norms(log):
    """The norms of the gradients by layer [layers] at step 0, and at the last if it was reached."""
    lines = re.findall(r'^gradient norm by layer: (.*)$', log, re.M)
    reached = [lines[0]] if 'The loss is' in log else [lines[0], lines[-1]]
    return [np.array(line.split(), float) for line in reached]


def draw(folder, logs):
    """Gradient norms by layer of {name: log}, before training and after it."""
    import plots
    figure, panels = plots.plt.subplots(1, 2, figsize=(11, 4), sharey=True)
    for i, (name, log) in enumerate(logs.items()):
        for panel, norms in zip(panels, gradient_norms(log)):
            panel.plot(range(1, len(norms) + 1), norms, 'o-', color='C%d' % i, label=name)
    for panel, title in zip(panels, ('at step 0', 'at step 2000')):
        panel.set_title('gradient norm ' + title)
        panel.set_yscale('log')
        panel.set_xlabel('layer: 1 reads the pixels, 10 gives the logits')
        panel.set_xticks(range(1, 11))
        panel.grid(alpha=0.3)
    panels[1].legend(handles=panels[0].lines, frameon=False, loc='center left',
                     bbox_to_anchor=(1, 0.5))
    return plots.save(figure, folder, 'gradient_norms')


def main():
    parser = runs.parser(__doc__)
    parser.add_argument('--data', default='letters', help='as in every lesson')
    parser.add_argument('--seeds', type=int, nargs='+', default=[1, 2, 3])
    parser.add_argument('--only', nargs='+', metavar='WORD', help='remedies whose name has a WORD')
    parser.add_argument('--plot', metavar='DIR', help='draw gradient_norms.png there')
    flags = parser.parse_args()
    done = {}

    def logs(command):
        if command not in done:
            done[command] = [run(command, flags.data, seed, flags.again) for seed in flags.seeds]
        return done[command]

    print('| remedy | the notes | without | with | with: `deep_nn.py --steps 2001` and |')
    print('|---|---|---|---|---|')
    for remedy, claim, without, with_it in ROWS:
        if not flags.only or any(word in remedy for word in flags.only):
            print('| %s | %s | %s | %s | `%s` |' % (
                remedy, claim, summary(logs(without)), summary(logs(with_it)),
                with_it.replace(' --gradient-norms', '')), flush=True)
    if flags.plot:
        draw(flags.plot, {name: logs(command)[0] for name, command in (
            ('sigmoid, N(0, 1)', SIGMOID), ('sigmoid, Xavier', ROWS[0][3]),
            ('sigmoid, N(0, 1), batch norm', SIGMOID + ' --batch-norm'),
            ('ReLU, N(0, 1)', DEEP + ' --init normal'), ('ReLU, He', DEEP),
            ('ReLU, He, batch norm', DEEP + ' --batch-norm'))})


if __name__ == '__main__':
    main()
