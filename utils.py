"""Arrays in, accuracy out: what the lessons share and none of them teaches.

Loading and one-hot encoding are the core; around it stand the flags, the log and the session, so
that a lesson's own page holds nothing but the lesson. Import it before TensorFlow: it keeps
TensorFlow's start-up chatter off the screen.
"""
import collections
import contextlib
import os
import signal
import sys
import time

import numpy as np

from commandline import Flags, Parser, Refused, folder, number, refuse  # noqa: F401 (for lessons)
from data import formats

with formats.quiet_stderr():
    import tensorflow.compat.v1 as tf
    with tf.Graph().as_default():  # TensorFlow 2.18 talks at the first run, too; leaves GPUs alone
        tf.Session(config=tf.ConfigProto(device_count={'GPU': 0})).run(tf.no_op())
tf.logging.set_verbosity(tf.logging.ERROR)
tf.enable_resource_variables()  # in TensorFlow 1 too: what is read before an update stays so

IMAGE_SIZE = 28
NUM_LABELS = 10
EVALUATION_CHUNK = 2000  # images evaluated at once: bounds the memory of wide nets

Split = collections.namedtuple('Split', 'images labels')
Data = collections.namedtuple('Data', 'train valid test')


# ------------------------------------------------------------------------------------- the arrays

def empty(rows, columns):
    """An uninitialized float32 array [rows, columns] that TensorFlow can use without a copy.

    It does so where an array begins at a multiple of 64 bytes, which NumPy leaves to chance.
    """
    size = rows * columns
    room = np.empty(size + 16, np.float32)
    start = -room.ctypes.data % 64 // 4
    return room[start:start + size].reshape(rows, columns)


def reformat(dataset, labels):
    """Flatten images and encode labels as the networks want them (notes 1, "Linear Model").

    dataset: uint8 [n, 28, 28], 0 black to 255 white; labels: integer [n], 0 to 9.
    Returns float32 [n, 784] in [-0.5, 0.5] and one-hot float32 [n, 10].
    """
    images = empty(len(dataset), IMAGE_SIZE * IMAGE_SIZE)
    images[:] = dataset.reshape(images.shape)
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
    variable, it is left out of checkpoints; tf.local_variables_initializer() fills it, on a CPU
    with reformat()'s images themselves rather than a copy: do not change them afterwards.
    """
    value = tf.py_func(lambda: array, [], array.dtype)
    value.set_shape(array.shape)
    return tf.Variable(value, trainable=False, collections=[tf.GraphKeys.LOCAL_VARIABLES])


def evaluate(session, tensor, inlet, rows, chunk=EVALUATION_CHUNK):
    """A tensor's values, an array [n, ...], where rows [n, ...] are fed for another, in chunks."""
    return np.concatenate([session.run(tensor, {inlet: rows[i:i + chunk]})
                           for i in range(0, len(rows), chunk)])


def predict(session, net, images, chunk=EVALUATION_CHUNK):
    """The class of each image by the net's present weights: int64 [n]."""
    return evaluate(session, net.predictions, net.x, images, chunk)


def accuracy(session, net, split, chunk=EVALUATION_CHUNK):
    """The share of a split's images that the net classifies correctly."""
    found = predict(session, net, split.images, chunk)
    return float(np.mean(found == split.labels.argmax(1)))


def confusion(truth, predictions):
    """How many images of each class (row) were taken for each (column): integer [10, 10].

    truth, predictions: integer [n], 0 to 9.
    """
    size = NUM_LABELS
    return np.bincount(size * truth + predictions, minlength=size * size).reshape(size, size)


class Session(tf.Session):
    """A tf.Session that prepares an operation run alone, as in each step, the first time only."""

    def __init__(self, **options):
        super().__init__(**options)
        self.prepared = {}  # {operation: function that runs it}

    def run(self, fetches, *more, **options):
        """As in tf.Session."""
        if more or options or not isinstance(fetches, tf.Operation):
            return super().run(fetches, *more, **options)
        if fetches not in self.prepared:
            self.prepared[fetches] = self.make_callable(fetches)
        return self.prepared[fetches]()


def gpu_options(gpu_memory):
    """tf.GPUOptions for a share of a GPU's memory, taken at once; for None, taken as needed."""
    return (tf.GPUOptions(allow_growth=True) if gpu_memory is None else
            tf.GPUOptions(per_process_gpu_memory_fraction=gpu_memory))


def session(graph, gpu_memory=None):
    """A tf.Session on a graph that is complete: nothing may be added once it runs.

    gpu_memory: share of a GPU's memory to take at once; None takes it as needed (notes 5).
    """
    graph.finalize()
    # Operations of these networks wait for one another: handing them to a pool of threads costs
    # more than it gains (a third of the linear model's step). Each still uses every core.
    return Session(graph=graph, config=tf.ConfigProto(
        gpu_options=gpu_options(gpu_memory), inter_op_parallelism_threads=-1))


class CtrlC:
    """Lets a step finish: `with CtrlC() as ctrl_c:` turns Ctrl-C into ctrl_c.pressed.

    A second Ctrl-C stops at once.
    """

    def __enter__(self):
        self.pressed = False
        self.before = signal.signal(signal.SIGINT, self.press)
        return self

    def press(self, *_):
        if self.pressed:
            raise KeyboardInterrupt
        self.pressed = True

    def __exit__(self, *_):
        signal.signal(signal.SIGINT, self.before)


# ---------------------------------------------------------------------------------------- the log

class Log:
    """What one run tells: printed lines, and on demand TensorBoard's scalars and pictures."""

    def __init__(self, parser, flags, data, epoch_images=None):
        """Print the first line and refuse a minibatch larger than the training set.

        epoch_images: how many images an epoch has; the whole training set if not given.
        """
        images = len(data.train.labels)
        if flags.batch_size > images:
            raise Refused('--batch-size %d is larger than the training set of %d images: give a '
                          'smaller one.' % (flags.batch_size, images))
        self.flags = flags
        self.names = formats.class_names(flags.data)
        self.epochs_per_step = flags.batch_size / (epoch_images or images)
        self.part('')
        print('%s  data %s (%s images)  seed %d  TensorFlow %s  %s' % (
            parser.prog, flags.data, '/'.join(str(len(split.labels)) for split in data), flags.seed,
            tf.__version__, parser.changed(flags) or 'default constants'), flush=True)

    def part(self, name):
        """Begin a part of the run, with a clock, a history and folders of its own."""
        self.start = time.time()
        self.history = []  # what report() was told, as dictionaries
        self.board = None  # TensorBoard's file
        folders = getattr(self.flags, 'logdir', None), getattr(self.flags, 'plot', None)
        self.logdir, self.plot = [path and os.path.join(path, name) for path in folders]

    def due(self, step):
        """Whether this step is reported: every report_every steps, and the last."""
        return step % self.flags.report_every == 0 or step == self.flags.steps - 1

    def report(self, step, losses, accuracy, validation, learning_rate, mark=''):
        """Print one line; losses is the data loss alone, or {name: value} with the data loss first.

        Accuracies are fractions; mark stands at the front. Raises Refused where the loss is no
        longer a finite number.
        """
        losses = losses if isinstance(losses, dict) else {'loss': losses}
        total, last = float(sum(losses.values())), self.flags.steps - 1
        apart = '' if len(losses) == 1 else ' = ' + ' + '.join(
            ('%.4f' if i == 0 else name + ' %.4f') % losses[name] for i, name in enumerate(losses))
        epoch = step * self.epochs_per_step
        clear_progress()
        print('%sstep %*d/%d  epoch %5.2f  minibatch loss %.4f%s  minibatch accuracy %5.1f%%  '
              'validation accuracy %5.1f%%  lr %.4f  %.1fs' % (
                  mark, len(str(last)), step, last, epoch, total, apart, 100 * accuracy,
                  100 * validation, learning_rate, self.seconds()), flush=True)
        if not np.isfinite(total):
            raise Refused(self.diagnosis(total, step))
        values = {'loss/' + name: float(value) for name, value in losses.items()}
        values.update({'accuracy/minibatch': float(accuracy), 'accuracy/validation': validation,
                       'learning_rate': float(learning_rate), 'epoch': epoch})
        self.history.append(dict(values, step=step))
        if self.logdir:
            self.summarize(step, tf.Summary(value=[
                tf.Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]))
        if 0 < step < last:
            left = self.seconds() / (step + 1) * (last - step)
            show_progress('%3d%%  about %d s left' % (100 * step // last, left))

    def summarize(self, step, summary):
        """Write a tf.Summary, serialized or not, for TensorBoard; the graph comes first."""
        if self.board is None:
            import summaries  # not above: TensorFlow comes first, and quietly
            self.board = summaries.Board(self.logdir)
            self.board.add_graph(tf.get_default_graph())
            # After a checkpoint, TensorBoard forgets what the run before had written beyond it.
            self.board.add(step, session_log=tf.SessionLog(status=tf.SessionLog.START))
        self.board.add_summary(summary, step)

    def say(self, sentence):
        """Print a line of another kind."""
        clear_progress()
        print(sentence, flush=True)

    def seconds(self):
        """Since the start, the runs before this one's checkpoint included."""
        return time.time() - self.start

    def go_on(self, history, seconds):
        """Take up the log of a run that was stopped after so many seconds."""
        self.history, self.start = history, time.time() - seconds

    def diagnosis(self, loss, step):
        """The likely cause of a loss that is not finite, and the flag to change."""
        rate, l2 = self.flags.lr, getattr(self.flags, 'l2', 0)
        if rate * l2 > 2:  # w -= rate * l2 * w then flips the sign of w and makes it larger
            return ('The loss is %s at step %d: the L2 penalty of %g overshoots at a learning rate '
                    'of %g and the weights have run away; try --l2 %g.' % (
                        loss, step, l2, rate, 0.1 / rate))
        return ('The loss is %s at step %d: most likely the learning rate of %g is too large and '
                'the weights have run away; try --lr %g.' % (loss, step, rate, rate / 10))

    def stopped(self, step, best_validation, best_step):
        """Say where Ctrl-C stopped the run; return the exit code."""
        clear_progress()
        print('Stopped by Ctrl-C before step %d: best validation accuracy %.1f%% at step %d; %s' % (
            step, 100 * best_validation, best_step, 'the same command with --resume goes on.'
            if self.flags.checkpoint else 'nothing was saved.'), flush=True)
        return 130

    def finish(self, predictions, test, best_validation, best_step):
        """Print the test accuracy; return the exit code, 1 where it misses --target-accuracy."""
        truth = test.labels.argmax(1)
        correct, total = int((predictions == truth).sum()), len(truth)
        clear_progress()
        print('Test accuracy: %.1f%% (%d/%d)  best validation %.1f%% at step %d  seed %d' % (
            100 * correct / total, correct, total, 100 * best_validation, best_step,
            self.flags.seed), flush=True)
        if self.board:
            self.board.close()
        if self.plot:
            import plots  # matplotlib takes half a second to load: only where it draws
            if self.history:  # a run that went on from its own end has none
                plots.learning_curves(self.plot, self.history)
            plots.confusion_matrix(self.plot, confusion(truth, predictions), self.names)
            plots.wrong_examples(self.plot, test.images, truth, predictions, self.names)
            first = tf.trainable_variables()[0]
            if first.shape[0] == IMAGE_SIZE ** 2:  # a weight for each pixel
                plots.first_layer(self.plot, tf.get_default_session().run(first))
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
    sentence = formats.printable('%s: %s' % (os.path.basename(sys.argv[0]), sentence))
    print(sentence, file=sys.stderr, flush=True)


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
    except OSError as failure:  # of the log itself, say, into a file on a full disk
        with contextlib.suppress(OSError):  # nothing more of it at exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        warn('Stopped by an error of the system (%s): check permissions and the room on the disk.'
             % failure)
        sys.exit(2)
    except KeyboardInterrupt:
        warn('Stopped by Ctrl-C.')
        sys.exit(130)
