"""Arrays in, accuracy out: what the lessons share and none of them teaches.

Loading and one-hot encoding are the core; around it stand the flags, the log and the session, so
that a lesson's own page holds nothing but the lesson. Import it before TensorFlow: it keeps
TensorFlow's start-up chatter off the screen.
"""
import argparse
import collections
import math
import os
import sys
import time

import numpy as np

from data import formats

with formats.quiet_stderr():
    import tensorflow.compat.v1 as tf
tf.logging.set_verbosity(tf.logging.ERROR)

IMAGE_SIZE = 28
NUM_LABELS = 10
EVALUATION_CHUNK = 2000  # images evaluated at once: bounds the memory of wide nets

Split = collections.namedtuple('Split', 'images labels')
Data = collections.namedtuple('Data', 'train valid test')


class Refused(Exception):
    """A run that cannot start or go on; its message is one sentence with the way out."""


# ------------------------------------------------------------------------------------- the arrays

def reformat(dataset, labels):
    """Flatten images and encode labels as the networks want them (notes 1, "Linear Model").

    dataset: uint8 [n, 28, 28], 0 black to 255 white; labels: integer [n], 0 to 9.
    Returns float32 [n, 784] in [-0.5, 0.5] and one-hot float32 [n, 10].
    """
    images = dataset.reshape(-1, IMAGE_SIZE * IMAGE_SIZE).astype(np.float32)
    images /= 255                      # in place: a 200,000-image set takes 600 MB once, not thrice
    images -= 0.5
    one_hot = (np.arange(NUM_LABELS) == labels[:, None]).astype(np.float32)  # [n, 10]
    return images, one_hot


def load(source, shuffle_seed=None):
    """Read a data set: 'letters', 'notmnist', 'mnist' or a path in any form of data/README.md.

    With a shuffle_seed the training set is put in a random order first. Returns a Data of three
    Splits (float32 images [n, 784], one-hot labels [n, 10]). Raises formats.DataError.
    """
    arrays = formats.read(source)
    images, labels = arrays['train_dataset'], arrays['train_labels']
    if shuffle_seed is not None:
        order = np.random.RandomState(shuffle_seed).permutation(len(labels))
        images, labels = images[order], labels[order]
    elif formats.sorted_labels(labels):
        warn('The training labels of %s are in sorted order: a minibatch sees one class at a time, '
             'so its accuracy looks fine while validation fails; add --shuffle.' % source)
    return Data(Split(*reformat(images, labels)),
                Split(*reformat(arrays['valid_dataset'], arrays['valid_labels'])),
                Split(*reformat(arrays['test_dataset'], arrays['test_labels'])))


def resident(array):
    """A constant that lives in the graph's own memory, for slicing minibatches without Python.

    Not tf.constant: that is written into the graph itself, which may not exceed 2 GB. Being a local
    variable, it is left out of checkpoints; tf.local_variables_initializer() fills it.
    """
    value = tf.py_func(lambda: array, [], array.dtype)
    value.set_shape(array.shape)
    return tf.Variable(value, trainable=False, collections=[tf.GraphKeys.LOCAL_VARIABLES])


def count_correct(session, net, split):
    """How many images of a split are classified correctly, evaluated in chunks."""
    return int(sum(session.run(net.correct, {net.x: split.images[i:i + EVALUATION_CHUNK],
                                             net.y: split.labels[i:i + EVALUATION_CHUNK]})
                   for i in range(0, len(split.labels), EVALUATION_CHUNK)))


def session(graph):
    """A tf.Session on a graph that is complete: nothing may be added once it runs."""
    graph.finalize()
    gpu = tf.GPUOptions(allow_growth=True)  # take a GPU's memory as needed, not all of it
    return tf.Session(graph=graph, config=tf.ConfigProto(gpu_options=gpu))


# -------------------------------------------------------------------------------------- the flags

def number(kind, low, high=math.inf, open_low=False):
    """An argparse type: a finite int or float from low (or above it, open_low) up to high."""
    def parse(text):
        wanted = 'a whole number' if kind is int else 'a number'
        bounds = ('greater than %g' if open_low else 'of at least %g') % low
        if high < math.inf:
            bounds += ' and at most %g' % high
        try:
            value = kind(text)
            if math.isfinite(value) and low <= value <= high and not (open_low and value == low):
                return value
        except (ValueError, OverflowError):
            pass
        raise argparse.ArgumentTypeError('%s is not %s %s' % (text, wanted, bounds))
    return parse


class Flags(argparse.ArgumentParser):
    """The flags common to all lessons; each lesson adds its own and gives its constants."""

    def __init__(self, doc, steps, batch_size, learning_rate, report_every, seed, data='letters'):
        super().__init__(description=doc, allow_abbrev=False,
                         formatter_class=argparse.RawDescriptionHelpFormatter)
        self.flag('--data', 'letters, notmnist, mnist or a PATH', default=data)
        self.flag('--steps', 'training steps', type=number(int, 1), default=steps)
        self.flag('--batch-size', 'images in a minibatch', type=number(int, 1), default=batch_size)
        self.flag('--lr', 'learning rate at the start', metavar='RATE',
                  type=number(float, 0, open_low=True), default=learning_rate)
        self.flag('--report-every', 'steps between two lines of the log', metavar='STEPS',
                  type=number(int, 1), default=report_every)
        self.flag('--seed', 'of weights, dropout and shuffling', type=number(int, 0, 2**31 - 1),
                  default=seed)
        self.flag('--shuffle', 'shuffle the training set first', action='store_true')
        self.flag('--target-accuracy', 'exit with 1 if the test accuracy is lower',
                  metavar='PERCENT', type=number(float, 0, 100))

    def flag(self, name, text, **options):
        """add_argument with the default in the help text."""
        default = options.get('default')
        if default is not None and not isinstance(default, bool):
            text += ' (default: %s)' % default
        return self.add_argument(name, help=text.replace('%', '%%'), **options)

    def error(self, message):
        """One sentence, exit code 2: argparse's own usage text would bury it."""
        self.exit(2, '%s: %s; see --help.\n' % (self.prog, message.replace('argument ', '', 1)))

    def changed(self, flags):
        """The constants that flags have changed, as they would be typed (data and seed apart)."""
        names = {action.dest: action.option_strings[0] for action in self._actions}
        return ' '.join(
            names[dest] if isinstance(value, bool) else '%s %s' % (names[dest], value)
            for dest, value in vars(flags).items()
            if value != self.get_default(dest) and dest not in ('data', 'seed'))


# ---------------------------------------------------------------------------------------- the log

class Log:
    """The printed lines of one run: what runs, a line per report, the test accuracy."""

    def __init__(self, parser, flags, data):
        """Print the first line and refuse a minibatch larger than the training set."""
        if flags.batch_size > len(data.train.labels):
            raise Refused('--batch-size %d is larger than the training set of %d images: give a '
                          'smaller one.' % (flags.batch_size, len(data.train.labels)))
        self.flags, self.start = flags, time.time()
        print('%s  data %s (%s images)  seed %d  TensorFlow %s  %s' % (
            parser.prog, flags.data, '/'.join(str(len(split.labels)) for split in data), flags.seed,
            tf.__version__, parser.changed(flags) or 'default constants'), flush=True)

    def due(self, step):
        """Whether this step is reported: every report_every steps, and the last."""
        return step % self.flags.report_every == 0 or step == self.flags.steps - 1

    def report(self, step, losses, accuracy, validation, learning_rate):
        """Print one line; losses is the data loss alone or (data loss, penalty).

        Accuracies are fractions. Raises Refused where the loss is no longer a finite number.
        """
        total, last = np.sum(losses), self.flags.steps - 1
        apart = '' if np.size(losses) == 1 else ' = %.4f + l2 %.4f' % tuple(losses)
        clear_progress()
        print('step %*d/%d  minibatch loss %.4f%s  minibatch accuracy %5.1f%%  '
              'validation accuracy %5.1f%%  lr %.4f  %.1fs' % (
                  len(str(last)), step, last, total, apart, 100 * accuracy, 100 * validation,
                  learning_rate, time.time() - self.start), flush=True)
        if not np.isfinite(total):
            raise Refused(self.diagnosis(total, step))
        if 0 < step < last:
            left = (time.time() - self.start) / (step + 1) * (last - step)
            show_progress('%3d%%  about %d s left' % (100 * step // last, left))

    def diagnosis(self, loss, step):
        """The likely cause of a loss that is not finite, and the flag to change."""
        rate, l2 = self.flags.lr, getattr(self.flags, 'l2', 0)
        if rate * l2 > 2:  # w -= rate * l2 * w then flips the sign of w and makes it larger
            return ('The loss is %s at step %d: the L2 penalty of %g overshoots at a learning rate '
                    'of %g and the weights have run away; try --l2 %g.' % (
                        loss, step, l2, rate, 0.1 / rate))
        return ('The loss is %s at step %d: most likely the learning rate of %g is too large and '
                'the weights have run away; try --lr %g.' % (loss, step, rate, rate / 10))

    def finish(self, correct, total, best_validation, best_step):
        """Print the test accuracy; return the exit code, 1 where it misses --target-accuracy."""
        clear_progress()
        print('Test accuracy: %.1f%% (%d/%d)  best validation %.1f%% at step %d  seed %d' % (
            100 * correct / total, correct, total, 100 * best_validation, best_step,
            self.flags.seed), flush=True)
        return int(100 * correct / total < (self.flags.target_accuracy or 0))


def show_progress(text):
    """Show a line that the next one replaces; only on a terminal."""
    if sys.stderr.isatty():
        sys.stderr.write('\r\033[K' + text)
        sys.stderr.flush()


def clear_progress():
    """Remove the line of show_progress."""
    show_progress('')


def warn(sentence):
    """Say something on stderr and go on."""
    clear_progress()
    print('%s: %s' % (os.path.basename(sys.argv[0]), sentence), file=sys.stderr, flush=True)


def run(main):
    """Run a lesson's main() and exit: a failure is one sentence on stderr and exit code 2."""
    try:
        sys.exit(main())
    except (Refused, formats.DataError) as failure:
        warn(failure)
        sys.exit(2)
    except BrokenPipeError:  # the reader of the log is gone: `python sgd.py | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except KeyboardInterrupt:
        warn('Stopped by Ctrl-C; nothing was saved.')
        sys.exit(130)
