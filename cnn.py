"""A convolutional network: saved where it is best, stopped early, lost and restored.

Notes 2: two convolutions, each followed by pooling, then two fully connected layers. What is taught
is tf.train.Saver: the weights are saved whenever the validation accuracy is better than ever, which
a `*` marks in the log, and training stops when that has not happened for a while. Then the network
forgets everything, and the saver brings it back.

    python -m data.mnist                     once: the notes' digits
    python cnn.py
    python cnn.py --tuned                    the same network with the remedies of notes 4
    python cnn.py --checkpoint DIR           keeps what was saved; again with --resume to go on

Test accuracy on MNIST, restored, 98.6 ± 0.1%, stopped after 5,000 to 6,800 steps; with --tuned
99.5 ± 0.1% after 6,001, and 97.3 ± 0.2% on the letters (--data letters --tuned). Seeds 1 to 3,
TensorFlow 2.21; about three minutes of processor time each.
"""
import os
import tempfile
import zlib
from types import SimpleNamespace

import numpy as np

import checkpoints
import layers
import utils  # before TensorFlow: keeps its start-up chatter off the screen
import tensorflow.compat.v1 as tf

# ---------------------------------------------------------------------------------- constants
STEPS = 10000            # updates at most, each from one minibatch
BATCH_SIZE = 64          # images in a minibatch
LEARNING_RATE = 1e-4     # of Adam
EARLY_STOPPING = 1000    # steps without a better validation accuracy
REPORT_EVERY = 100       # steps
SEED = 42
KERNEL = 5               # pixels, the height and width of each convolution
FEATURES = (16, 36)      # of each convolution
DEEPER = 64              # features of the third one
HIDDEN = 128             # units of the fully connected layer
PREDICTED_AT_ONCE = 256  # images: a convolution's outputs take 16 times the memory of its inputs
KEEP = 3                 # checkpoints, the latest
# With --tuned: remedies of notes 4.
TUNED = dict(steps=6001, lr=0.003, report_every=500, early_stopping=0)
BATCH_NORM_MOMENTUM, KEEP_PROB, AUGMENT, LABEL_SMOOTHING = 0.98, 0.5, 1.0, 0.1

FLAGS = [
    # name, default, the value if none is given, what it takes (None: a switch), what it is
    ('--deeper', False, None, None, 'a third convolution and pooling, of %d features' % DEEPER),
    ('--tuned', False, None, None, 'batch normalization, dropout, augmentation, label smoothing, '
     'a learning rate that rises, then falls to 0; %d steps, rate %g, no early stopping'
     % (TUNED['steps'], TUNED['lr'])),
    ('--early-stopping', EARLY_STOPPING, None, utils.number(int, 0),
     'stop after this many steps without a better validation accuracy; 0: never'),
    ('--patience', 0.0, 0.5, utils.number(float, 0),
     'wait longer, the longer it went well: at least this share of the steps until the best one'),
    ('--checkpoint', None, None, utils.folder,
     'save into this folder; if not given, into one that is removed at the end'),
    ('--keep', KEEP, None, utils.number(int, 1), 'how many of the latest checkpoints are kept'),
    ('--resume', None, 'latest', ('latest', 'best'), 'go on from that checkpoint, if there is one'),
]
# ---------------------------------------------------------------------------------------------


def forward(x, training, seed, flags):
    """Convolutions, each pooled, and two full layers: x is float32 [batch, 784]; returns logits."""
    activation = tf.nn.relu
    if flags.tuned:
        def activation(z):
            return tf.nn.relu(layers.batch_norm(z, training, BATCH_NORM_MOMENTUM))
    hidden = tf.reshape(x + 0.5, [-1, 28, 28, 1])  # the zeros padded all round are background then
    for layer, feature in enumerate(FEATURES + (DEEPER,) * flags.deeper, 1):
        hidden = layers.conv2d_layer(hidden, KERNEL, feature, activation, 'conv%d' % layer)
        hidden = layers.max_pool(hidden)                    # [batch, 14, 14, 16], [batch, 7, 7, 36]
    hidden = tf.reshape(hidden, [-1, int(np.prod(hidden.shape[1:]))])        # [batch, 1764]
    hidden = layers.full_layer(hidden, HIDDEN, activation, 'full')           # [batch, HIDDEN]
    if flags.tuned:
        hidden = layers.dropout(hidden, tf.where(training, KEEP_PROB, 1.0), seed(0))
    return layers.full_layer(hidden, 10, None, 'output')                     # [batch, 10]


def build_graph(flags, data):
    """Describe training, evaluation and saving; data: Splits of float32 [n, 784] and [n, 10]."""
    graph, train = tf.Graph(), data.train
    with graph.as_default():
        tf.set_random_seed(flags.seed)
        step = tf.train.get_or_create_global_step()  # counted up by the optimizer
        seed = layers.seeds(flags.seed, step)  # of random numbers: nothing else remembers them

        with tf.name_scope('minibatch'):
            images = utils.resident(train.images)                            # [n, 784]
            labels = utils.resident(train.labels)                            # [n, 10]
            offset_range = max(len(train.labels) - flags.batch_size, 1)
            offset = step * flags.batch_size % offset_range
            batch_x = images[offset:offset + flags.batch_size]               # [batch, 784]
            batch_y = labels[offset:offset + flags.batch_size]               # [batch, 10]
            if flags.tuned:
                batch_x = layers.augment(batch_x, seed(999), AUGMENT)
        # Trained on the minibatch; evaluated on whatever is fed.
        x = tf.placeholder_with_default(batch_x, [None, 784], name='x')
        y = tf.placeholder_with_default(batch_y, [None, 10], name='y')
        training = tf.placeholder_with_default(False, [], name='training')

        logits = forward(x, training, seed, flags)                           # [batch, 10]
        with tf.name_scope('loss'):
            smoothing = LABEL_SMOOTHING if flags.tuned else 0.0
            loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits_v2(
                labels=(1 - smoothing) * y + smoothing / 10, logits=logits))
        with tf.name_scope('train'):
            progress = tf.cast(step, tf.float32) / max(flags.steps - 1, 1)   # 0 to 1
            schedule = layers.SCHEDULES['one-cycle' if flags.tuned else 'constant']
            learning_rate = flags.lr * schedule(progress)
            with tf.control_dependencies(tf.get_collection(tf.GraphKeys.UPDATE_OPS)):  # batch norm
                train_op = tf.train.AdamOptimizer(learning_rate).minimize(loss, global_step=step)
        with tf.name_scope('evaluation'):
            predictions = tf.argmax(logits, 1)                               # [batch], 0 to 9
            hits = tf.equal(predictions, tf.argmax(y, 1))                    # [batch]
            accuracy = tf.reduce_mean(tf.cast(hits, tf.float32))

        with tf.name_scope('best'):  # what the loop has to know is saved with the rest
            best = SimpleNamespace(
                validation=tf.Variable(-1.0, trainable=False, name='validation', dtype=tf.float64),
                step=tf.Variable(0, trainable=False, name='step', dtype=tf.int64),
                images=tf.Variable(zlib.crc32(data.valid.images), trainable=False, name='images',
                                   dtype=tf.int64))  # which the accuracy was measured on
        # A Saver knows every variable of the graph, Adam's among them; each keeps its own list.
        savers = {'latest': tf.train.Saver(max_to_keep=flags.keep, save_relative_paths=True),
                  'best': tf.train.Saver(max_to_keep=1, save_relative_paths=True)}

        return SimpleNamespace(
            graph=graph, x=x, y=y, training=training, step=step, logits=logits, loss=loss,
            learning_rate=learning_rate, train_op=train_op, predictions=predictions,
            accuracy=accuracy, best=best, savers=savers, variables=tf.trainable_variables(),
            kernels=[v for v in tf.trainable_variables() if len(v.shape) == 4],
            init=[tf.global_variables_initializer(), tf.local_variables_initializer()])


def show(session, net, test, log, moment):
    """Say how good the present weights are, and of what size; returns predictions, kernels."""
    predictions = utils.predict(session, net, test.images, PREDICTED_AT_ONCE)
    kernels = session.run(net.kernels)
    correct, total = int((predictions == test.labels.argmax(1)).sum()), len(predictions)
    log.say('%-9s test accuracy %5.1f%% (%d/%d)' % (moment, 100 * correct / total, correct, total)
            + ''.join('  conv%d mean %.5f stddev %.5f' % (layer, kernel.mean(), kernel.std())
                      for layer, kernel in enumerate(kernels, 1)))
    return predictions, kernels


def save(session, net, kind, folder):
    """Write a checkpoint of a kind, 'latest' or 'best'; its name ends in the number of steps."""
    path = os.path.join(folder, kind, 'model')
    with checkpoints.refusing('No checkpoint can be written to %s' % folder):
        net.savers[kind].save(session, path, global_step=net.step, write_meta_graph=False)


def restore(session, net, kind, folder):
    """Read the last checkpoint of a kind; utils.Refused where it is not of this net and data."""
    path = checkpoints.latest(os.path.join(folder, kind))
    if path is None:
        raise utils.Refused('%s holds no %s checkpoint any more: remove it, or give another '
                            'folder.' % (folder, kind))
    checkpoints.refuse_other(path, tf.global_variables(), session.run(net.best.images))
    with checkpoints.refusing('The checkpoint %s is damaged' % path):
        net.savers[kind].restore(session, path)


def go_on(session, net, flags, log):
    """Take up the run of an earlier process, if it left a checkpoint."""
    if checkpoints.latest(os.path.join(flags.checkpoint, flags.resume)) is None:
        log.say('No checkpoint in %s yet: from the beginning' % flags.checkpoint)
        return
    restore(session, net, flags.resume, flags.checkpoint)
    for kind, saver in net.savers.items():  # a Saver deletes old files that it knows of
        with checkpoints.refusing('The list of %s checkpoints cannot be read' % kind):
            state = tf.train.get_checkpoint_state(os.path.join(flags.checkpoint, kind))
        saver.recover_last_checkpoints(state.all_model_checkpoint_paths if state else [])
    log.say('Going on from step %d, from the %s checkpoint' % (session.run(net.step), flags.resume))


def train(net, data, flags, log):
    """Run the graph: step, report, save the best; then forget everything and restore the best."""
    with utils.session(net.graph, flags.gpu_memory) as session, utils.CtrlC() as ctrl_c, \
            tempfile.TemporaryDirectory() as temporary:
        folder = flags.checkpoint or temporary
        session.run(net.init)
        _, start = show(session, net, data.test, log, 'At random')
        if flags.resume:
            go_on(session, net, flags, log)
        best_validation, best_step = session.run([net.best.validation, net.best.step])
        for step in range(session.run(net.step), flags.steps):
            if ctrl_c.pressed:
                save(session, net, 'latest', folder)
                return log.stopped(step, best_validation, best_step)
            patience = max(flags.early_stopping, flags.patience * best_step)
            if flags.early_stopping and step - best_step > patience:
                log.say('Early stopping: no better validation accuracy since step %d' % best_step)
                break
            if not log.due(step):
                session.run(net.train_op, {net.training: True})  # nothing fetched: no waiting
                continue
            _, loss, hits, learning_rate = session.run(
                [net.train_op, net.loss, net.accuracy, net.learning_rate], {net.training: True})
            validation = utils.accuracy(session, net, data.valid, PREDICTED_AT_ONCE)
            better = validation > best_validation
            log.report(step, loss, hits, validation, learning_rate, '* ' if better else '  ')
            if better:
                best_validation, best_step = validation, step
                net.best.validation.load(validation, session)
                net.best.step.load(step, session)
                save(session, net, 'best', folder)
            save(session, net, 'latest', folder)

        _, end = show(session, net, data.test, log, 'Trained')
        session.run(net.init[0])
        show(session, net, data.test, log, 'Forgotten')
        restore(session, net, 'best', folder)
        predictions, _ = show(session, net, data.test, log, 'Restored')
        validation = utils.accuracy(session, net, data.valid, PREDICTED_AT_ONCE)
        log.say('Validation accuracy %.2f%%, and %.2f%% when it was saved at step %d' % (
            100 * validation, 100 * best_validation, best_step))
        truth = data.test.labels.argmax(1)
        log.say('Confusion matrix, a row for each true class:\n%s' % utils.confusion(
            truth, predictions))
        if flags.plot:
            import plots  # matplotlib takes half a second to load: only where it draws
            plots.nine_examples(flags.plot, data.test.images, truth, predictions, log.names)
            for layer, pair in enumerate(zip(start, end), 1):
                plots.kernels(flags.plot, 'conv%d' % layer, *pair)
        return log.finish(predictions, data.test, best_validation, best_step)


def refuse_nonsense(flags):
    """Combinations that can do nothing good, each with the way out; raises utils.Refused."""
    utils.refuse([
        (flags.resume and not flags.checkpoint,
         '--resume goes on from a folder: name it with --checkpoint.'),
        (flags.checkpoint and not flags.resume
         and checkpoints.latest(os.path.join(flags.checkpoint, 'latest')),
         '%s holds a checkpoint: add --resume to go on from it, or give another folder.'
         % flags.checkpoint),
        (flags.patience and not flags.early_stopping,
         '--patience has nothing to wait for: add --early-stopping %d.' % EARLY_STOPPING),
        (flags.tuned and flags.batch_size == 1,
         '--tuned takes moments over a batch, and one image has none: give a larger '
         '--batch-size.'),
        (0 < flags.early_stopping < flags.report_every,
         '--early-stopping %d looks at validations that come each %d steps: give more, or a '
         'smaller --report-every.' % (flags.early_stopping, flags.report_every))])


def main():
    parser = utils.Flags(__doc__, STEPS, BATCH_SIZE, LEARNING_RATE, REPORT_EVERY, SEED, 'mnist')
    parser.table(FLAGS)
    if parser.parse_args().tuned:
        parser.set_defaults(**TUNED)
    flags = parser.parse_args()
    refuse_nonsense(flags)
    data = utils.load(flags.data, flags.seed if flags.shuffle else None)
    log = utils.Log(parser, flags, data)
    return train(build_graph(flags, data), data, flags, log)


if __name__ == '__main__':
    utils.run(main)
