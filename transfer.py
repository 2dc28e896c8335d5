"""Reusing what a network has learnt where labels are few: restore, freeze, cache, pretrain.

Notes 4, sections 5 and 6. A donor learns from all labels of another task on the same images: is the
class odd or even? The task at hand has all ten classes and few labels. The donor's lower layers are
restored by name, the lowest of them frozen; the layers above are new. Where there is no donor at
all, an autoencoder finds lower layers without any label.

    python transfer.py

Test accuracy on the letters, seeds 1 to 3, TensorFlow 2.21, with 100 and with 1,000 labels: from
nothing 77.7 ± 5.0 and 92.0 ± 0.6%, on frozen layers 85.7 ± 3.8 and 92.1 ± 0.1%, after the
autoencoder 78.1 ± 3.5 and 91.4 ± 1.2%. Takes 42 s of processor time.
"""
import os
import re
import tempfile
import time
from types import SimpleNamespace

import numpy as np

import checkpoints
import layers
import utils  # before TensorFlow: keeps its start-up chatter off the screen
import tensorflow.compat.v1 as tf

# ---------------------------------------------------------------------------------- constants
LABELS = [100, 1000]     # labelled images of the task at hand
STEPS = 600              # updates of each network that learns from them
DONOR_STEPS = 1000       # updates of the donor, and of each layer of the autoencoder
BATCH_SIZE = 100         # images in a minibatch
LEARNING_RATE = 0.001    # of Adam, the default choice of notes 4
HIDDEN = 512             # units in the first hidden layer; each further one has half as many
DEPTH = 4                # hidden layers, as in the notes
REUSE = 'layer[123]/'    # names of the donor's variables to restore; the others begin anew
FREEZE = 2               # the lowest so many layers stay as restored; layer 3 only starts there
PRETRAINED = 2           # layers that the autoencoder learns
KEEP = 0.8               # share of its inputs that it sees; it has to make all of them again
SEED = 42                # of weights, minibatches and the choice of labelled images

count = utils.number(int, 1)
FLAGS = [
    ('--data', 'letters', None, str, 'letters, notmnist, mnist or a PATH'),
    ('--labels', None, None, count, 'labelled images (default: first 100, then 1000)'),
    ('--steps', STEPS, None, count, 'training steps of each network with few labels'),
    ('--donor-steps', DONOR_STEPS, None, count, 'of the donor and each layer of the autoencoder'),
    ('--batch-size', BATCH_SIZE, None, count, 'images in a minibatch'),
    ('--lr', LEARNING_RATE, None, utils.number(float, 0, open_low=True), 'learning rate of Adam'),
    ('--hidden', HIDDEN, None, utils.number(int, 16, 8192), 'units in the first hidden layer'),
    ('--reuse', REUSE, None, str, 'regular expression for the names of variables to restore'),
    ('--freeze', FREEZE, None, utils.number(int, 1, DEPTH), 'how many of the lower layers'),
    ('--donor', None, None, utils.folder, 'keep the donors in this folder; take those in there'),
    ('--seed', SEED, None, utils.number(int, 0, 2**31 - 1), 'of weights, minibatches, labels'),
]
# ---------------------------------------------------------------------------------------------


def forward(x, hidden_units, classes, frozen):
    """x is float32 [batch, 784]; returns the outputs of the hidden layers, and the logits."""
    outputs, hidden = [], x
    for layer in range(1, DEPTH + 1):
        units = hidden_units >> (layer - 1)
        hidden = layers.full_layer(hidden, units, tf.nn.relu, 'layer%d' % layer)  # [batch, units]
        # No gradient passes stop_gradient, so the optimizer leaves all below alone. Elsewhere
        # identity stands in its place, lest the random weights of later layers change.
        hidden = (tf.stop_gradient if layer == frozen else tf.identity)(hidden)
        outputs.append(hidden)
    return outputs, layers.full_layer(hidden, classes, None, 'output')       # [batch, classes]


def build_graph(flags, classes=10, reuse=None, frozen=0):
    """Describe training and evaluation; reuse: which variables are to be restored from a donor."""
    graph = tf.Graph()
    with graph.as_default():
        tf.set_random_seed(flags.seed)
        x = tf.placeholder(tf.float32, [None, 784], name='x')
        y = tf.placeholder(tf.float32, [None, classes], name='y')
        outputs, logits = forward(x, flags.hidden, classes, frozen)          # [batch, classes]
        with tf.name_scope('loss'):
            loss = tf.reduce_mean(
                tf.nn.softmax_cross_entropy_with_logits_v2(labels=y, logits=logits))
        with tf.name_scope('train'):
            train_op = tf.train.AdamOptimizer(flags.lr).minimize(loss)
        with tf.name_scope('evaluation'):
            predictions = tf.argmax(logits, 1, name='predictions')           # [batch]
        for tensor in (x, predictions):  # laid out for whoever has the files, but not this script
            tf.add_to_collection('to_reuse', tensor)
        # By name, and trainable: what Adam remembers of layer1/weights has a like name.
        variables, reused = tf.trainable_variables(), tf.trainable_variables(reuse or 'nothing')
        return SimpleNamespace(
            graph=graph, x=x, y=y, logits=logits, train_op=train_op, predictions=predictions,
            variables=variables, frozen=variables[:2 * frozen], cut=outputs[frozen - 1],
            reused=reused, restorer=tf.train.Saver(reused) if reused else None,
            saver=tf.train.Saver(variables), init=tf.global_variables_initializer())


def minibatches(flags, steps, *arrays):
    """One minibatch per step: rows drawn at random, the same of each array."""
    draw = np.random.RandomState(flags.seed)
    for _ in range(steps):
        rows = draw.randint(len(arrays[0]), size=flags.batch_size)
        yield [array[rows] for array in arrays]


def train(net, split, test, flags, steps, donor=None, cached=False, save=None):
    """Run the graph; the test set is used once, at the end. Returns what came of it."""
    with utils.session(net.graph) as session:
        session.run(net.init)
        if donor:
            net.restorer.restore(session, donor)
        start, inlet, rows = time.time(), net.x, split.images
        if cached:  # what frozen layers make of an image never changes: once is enough
            inlet, rows = net.cut, utils.evaluate(session, net.cut, net.x, split.images)
        for x, y in minibatches(flags, steps, rows, split.labels):
            session.run(net.train_op, {inlet: x, net.y: y})
        seconds = time.time() - start
        if save:
            with checkpoints.refusing('%s cannot be written' % save):
                net.saver.save(session, save)  # and .meta: the graph, with names and collections
        found = utils.evaluate(session, net.predictions, net.x, test.images)  # [n], 0 to 9
        values = session.run(net.variables)
        if not all(np.isfinite(value).all() for value in values):
            raise utils.Refused('The weights have run away: try --lr %g.' % (flags.lr / 10))
        return SimpleNamespace(right=np.sum(found == test.labels.argmax(1)), seconds=seconds,
                               values=values)


def find(path, test):
    """Use a saved network without the code that made it; returns how many it classifies rightly."""
    with tf.Graph().as_default() as graph, checkpoints.refusing('%s cannot be used' % path):
        saver = tf.train.import_meta_graph(path + '.meta')
        x = graph.get_tensor_by_name('x:0')             # by name, for who knows it; by collection,
        _, predictions = tf.get_collection('to_reuse')  # where the author has laid it out
        with utils.session(graph) as session:
            saver.restore(session, path)
            found = utils.evaluate(session, predictions, x, test.images)     # [n], 0 or 1
            return np.sum(found == test.labels.argmax(1))


def pretrain(images, flags, save):
    """An autoencoder, layer by layer: each learns, without labels, to make its inputs again."""
    with tf.Graph().as_default() as graph:
        tf.set_random_seed(flags.seed)
        keep = tf.placeholder_with_default(1.0, [])
        outputs, train_ops = [tf.placeholder(tf.float32, [None, 784])], []
        for layer in range(1, PRETRAINED + 1):
            hidden, loss = layers.autoencoder(
                outputs[-1], flags.hidden >> (layer - 1), tf.nn.relu, keep, layer)
            # The other way to freeze: nothing learns but what is in var_list.
            own = tf.trainable_variables('(layer|decoder)%d/' % layer)
            train_ops.append(tf.train.AdamOptimizer(flags.lr).minimize(loss, var_list=own))
            outputs.append(hidden)                                           # [batch, units]
        saver = tf.train.Saver(tf.trainable_variables('layer'))
        init = tf.global_variables_initializer()
    with utils.session(graph) as session:
        session.run(init)
        for inputs, hidden, train_op in zip(outputs, outputs[1:], train_ops):
            for batch, in minibatches(flags, flags.donor_steps, images):
                session.run(train_op, {inputs: batch, keep: KEEP})
            images = utils.evaluate(session, hidden, inputs, images)  # cached for the layer above
        with checkpoints.refusing('%s cannot be written' % save):
            saver.save(session, save)


def compare(data, flags, donor, autoencoder, log):
    """Learn from few labels in every way; donor, autoencoder: paths of files, made if need be."""
    def say(labels, way, right, more=''):
        log.say('%4s labels  %-32s  test accuracy %.1f%% (%d/%d)%s  %.1fs' % (
            labels, way, 100 * right / total, right, total, more, log.seconds()))

    total = len(data.test.labels)
    easy, easy_test = [split._replace(labels=np.eye(2)[split.labels.argmax(1) % 2])
                       for split in (data.train, data.test)]                 # labels [n, 2]
    if not os.path.exists(donor + '.meta'):
        net = build_graph(flags, classes=2)
        made = train(net, easy, easy_test, flags, flags.donor_steps, save=donor)
        say('all', 'donor: odd or even?', made.right)
    say('all', 'donor, out of its files alone', find(donor, easy_test))
    if not os.path.exists(autoencoder + '.meta'):
        pretrain(data.train.images, flags, autoencoder)

    below = 'donor, layers 1-%d ' % flags.freeze
    order = np.random.RandomState(flags.seed).permutation(len(data.train.labels))
    before = None  # what the way before this one came to
    for labels in [flags.labels] if flags.labels else LABELS:
        few = utils.Split(*[array[order[:labels]] for array in data.train])
        for way, source, reuse, freeze, cached in (
                ('from nothing', None, None, 0, False),
                (below + 'frozen', donor, flags.reuse, flags.freeze, False),
                (below + 'frozen, cached', donor, flags.reuse, flags.freeze, True),
                ('donor, none frozen', donor, flags.reuse, 0, False),
                ('autoencoder, layer 1 frozen', autoencoder, 'layer[12]/', 1, False)):
            net = build_graph(flags, reuse=reuse, frozen=freeze)
            made = train(net, few, data.test, flags, flags.steps, source, cached)
            more = '  training %.2fs' % made.seconds
            if cached:
                off = max(np.abs(a - b).max() for a, b in zip(made.values, before.values))
                more += ', %.1f times as fast, weights within %.1g' % (
                    before.seconds / made.seconds, off)
            elif freeze:
                more += ', frozen weights ' + ('bit-equal' if all(
                    np.array_equal(value, checkpoints.read(source, variable.op.name))
                    for value, variable in zip(made.values, net.frozen)) else 'CHANGED')
            say(labels, way, made.right, more)
            before = made


def refuse_misfits(flags, donor, autoencoder):
    """What is known to fail before any long work; raises utils.Refused."""
    try:
        net = build_graph(flags, reuse=flags.reuse, frozen=flags.freeze)
    except re.error as error:
        raise utils.Refused('--reuse %s is no regular expression: %s.' % (flags.reuse, error))
    names, reused, frozen = [{v.op.name for v in some}
                             for some in (net.variables, net.reused, net.frozen)]
    refused = '--reuse %s ' % flags.reuse
    utils.refuse([
        (not reused,
         refused + 'matches none of %s: give a pattern that does.' % ', '.join(sorted(names))),
        ('output/weights' in reused,
         refused + 'takes the output layer, but the donor\'s is of another task: try %s.' % REUSE),
        (frozen - reused,
         refused + 'does not restore %s, which --freeze %d freezes: restore more, or freeze less.'
         % (' '.join(sorted(frozen - reused)), flags.freeze))])
    for path, wanted in (donor, net.reused), (autoencoder, net.variables[:2 * PRETRAINED]):
        for variable in wanted if os.path.exists(path + '.meta') else []:
            there = list(checkpoints.read(path, variable.op.name).shape)
            if there != variable.shape.as_list():
                raise utils.Refused(
                    '%s is %s in %s, and %s in this network: give the same --hidden, or another '
                    'folder.' % (variable.op.name, there, path, variable.shape.as_list()))


def main():
    parser = utils.Parser(__doc__)
    parser.table(FLAGS)
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:  # nothing is left behind
        files = [os.path.join(flags.donor or scratch, name) for name in ('donor', 'autoencoder')]
        refuse_misfits(flags, *files)
        data = utils.load(flags.data, flags.seed)
        if (flags.labels or 0) > len(data.train.labels):
            raise utils.Refused('--labels %d is more than there are: give at most %d.' % (
                flags.labels, len(data.train.labels)))
        compare(data, flags, *files, log=utils.Log(parser, flags, data))


if __name__ == '__main__':
    utils.run(main)
