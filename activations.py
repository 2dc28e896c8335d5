"""Activations compared; with them softmax, cross entropy, perplexity, dropout and flatten.

Notes 5, "Cross Entropy" to "Flatten". A layer learns through the derivative of its activation: on
flat ground no gradient comes through. A unit that is on flat ground for every training image is
dead: no gradient, or next to none, reaches its weights. The first table shows where activations
are flat; the last one, what a good learning rate and one too large by far make of a network.

    python activations.py                        tables, in less than a minute
    python activations.py --plot pictures        the same, drawn

On the letters, seeds 1 to 3 and 42, TensorFlow 2.21: at 0.001 all activations reach 94.5 to 95.3%
on the test set; at most 0.4% of the units are dead, though 42 to 45% of ReLU's outputs lie flat.
At 0.1, 46 to 50% of the units of ReLU, ELU, SELU and sigmoid are dead, and ReLU's accuracy is 10%,
a guess; 98% of tanh's outputs lie flat. No leaky ReLU dies, and 84 to 94% remain.
"""
from types import SimpleNamespace

import utils  # before TensorFlow: keeps its start-up chatter off the screen
import numpy as np
import tensorflow.compat.v1 as tf

import layers

# ---------------------------------------------------------------------------------- constants
STEPS = 1001             # updates of each network, each from one minibatch
BATCH_SIZE = 128         # images in a minibatch
LEARNING_RATE = 0.001
TOO_LARGE = 100          # times the learning rate, in a second row of networks
HIDDEN = (128, 128)      # units in the hidden layers
FLAT = 0.005             # ground is flat where |derivative| is smaller: leaky ReLU's never is
SAMPLE = 10000           # training images, at most, on which units are examined
RANGE = 8.0              # curves are drawn and searched for flat ground from -RANGE to RANGE
KEEP_PROB = 0.5          # share of a vector that dropout keeps
DRAWS = 20000            # of dropout, to see that the mean stays
REPORT_EVERY = 500       # steps
SEED = 42
# ---------------------------------------------------------------------------------------------


def forward(x, name):
    """The network: x is float32 [batch, 784]; returns logits [batch, 10], hidden sums, outputs."""
    kind = layers.SUITABLE.get(name, 'he')
    sums, outputs, inputs = [], [x], 784
    for units in HIDDEN:
        weights = tf.Variable(layers.initial_weights(inputs, units, kind))
        sums.append(tf.matmul(outputs[-1], weights) + tf.Variable(tf.zeros([units])))
        outputs.append(layers.ACTIVATIONS[name](sums[-1]))                   # [batch, units]
        inputs = units
    weights = tf.Variable(layers.initial_weights(inputs, 10, kind))
    logits = tf.matmul(outputs[-1], weights) + tf.Variable(tf.zeros([10]))   # [batch, 10]
    return logits, sums, outputs[1:]


def build_graph(flags, train, name, rate):
    """Describe training and evaluation; train is a Split of float32 [n, 784] and [n, 10]."""
    graph = tf.Graph()
    with graph.as_default():
        tf.set_random_seed(flags.seed)
        step = tf.train.get_or_create_global_step()  # counted up by the optimizer

        with tf.name_scope('minibatch'):
            images = utils.resident(train.images)                            # [n, 784]
            labels = utils.resident(train.labels)                            # [n, 10]
            offset_range = max(len(train.labels) - flags.batch_size, 1)
            offset = step * flags.batch_size % offset_range
            batch_x = images[offset:offset + flags.batch_size]               # [batch, 784]
            batch_y = labels[offset:offset + flags.batch_size]               # [batch, 10]
        # Trained on the minibatch; evaluated on whatever is fed.
        x = tf.placeholder_with_default(batch_x, [None, 784], name='x')
        y = tf.placeholder_with_default(batch_y, [None, 10], name='y')

        with tf.name_scope('forward'):
            logits, sums, outputs = forward(x, name)                         # [batch, 10]
        with tf.name_scope('loss'):
            loss = tf.reduce_mean(
                tf.nn.softmax_cross_entropy_with_logits_v2(labels=y, logits=logits))
        with tf.name_scope('train'):
            # Adam's steps are as long as the rate says: too long ones kill units, where those of
            # gradient descent would grow until the loss is nan.
            train_op = tf.train.AdamOptimizer(rate).minimize(loss, global_step=step)
        with tf.name_scope('evaluation'):
            predictions = tf.argmax(logits, 1)                               # [batch], 0 to 9
            hits = tf.equal(predictions, tf.argmax(y, 1))                    # [batch]
            accuracy = tf.reduce_mean(tf.cast(hits, tf.float32))
            perplexity = tf.exp(tf.cast(loss, tf.float64))  # e, not 2: the loss is in nats
        with tf.name_scope('health'):
            # An output depends on its own sum alone: the gradient is each unit's own derivative.
            slopes = tf.concat([tf.gradients(a, z)[0] for a, z in zip(outputs, sums)], 1)
            is_flat = tf.abs(slopes) < FLAT                                  # [batch, units]
            dead = tf.reduce_mean(tf.cast(tf.reduce_all(is_flat, 0), tf.float32))
            flat = tf.reduce_mean(tf.cast(is_flat, tf.float32))

        return SimpleNamespace(
            graph=graph, x=x, y=y, loss=loss, rate=rate, train_op=train_op,
            predictions=predictions, accuracy=accuracy, perplexity=perplexity, dead=dead, flat=flat,
            init=[tf.global_variables_initializer(), tf.local_variables_initializer()])


def train(net, data, flags, log):
    """Run the graph: step, report; the test set is used once, at the end.

    Returns the exit code and, of the last weights, not the best, a row: test accuracy, dead units
    and outputs on flat ground, all in percent, and perplexity on the validation set.
    """
    with utils.session(net.graph, flags.gpu_memory) as session:
        session.run(net.init)
        best_validation, best_step = -1.0, 0
        for step in range(flags.steps):
            if not log.due(step):
                session.run(net.train_op)      # nothing is fetched, so nothing is waited for
                continue
            _, loss, accuracy = session.run([net.train_op, net.loss, net.accuracy])
            validation = utils.accuracy(session, net, data.valid)
            log.report(step, loss, accuracy, validation, net.rate)
            if validation > best_validation:
                best_validation, best_step = validation, step

        dead, flat = session.run([net.dead, net.flat], {net.x: data.train.images[:SAMPLE]})
        perplexity = session.run(net.perplexity, {net.x: data.valid.images[:SAMPLE],
                                                  net.y: data.valid.labels[:SAMPLE]})
        predictions = utils.predict(session, net, data.test.images)          # [n], 0 to 9
        accuracy = np.mean(predictions == data.test.labels.argmax(1))
        code = log.finish(predictions, data.test, best_validation, best_step)
        return code, (100 * accuracy, 100 * dead, 100 * flat, perplexity)


def flat_regions(grid, slopes):
    """Where |f'| < FLAT, as (from, to) pairs; one that reaches an end of the grid goes on."""
    edges = np.flatnonzero(np.diff(np.r_[0, np.abs(slopes) < FLAT, 0]))      # starts and ends
    return [(grid[start], grid[end - 1]) for start, end in edges.reshape(-1, 2)]


def show_activations():
    """Print values and derivatives; returns the grid [points], {name: (f, f')}, {name: regions}."""
    grid = np.linspace(-RANGE, RANGE, int(2000 * RANGE) + 1, dtype=np.float32)
    with tf.Graph().as_default() as graph:
        x = tf.constant(grid)                                                # [points]
        values = {name: function(x) for name, function in layers.ACTIVATIONS.items()}
        both = {name: (y, tf.gradients(y, x)[0]) for name, y in values.items()}
        with utils.session(graph) as session:
            both = session.run(both)
    regions = {name: flat_regions(grid, slopes) for name, (_, slopes) in both.items()}

    print("\nactivation    f(-1)    f(0)    f(1)   on [-%g, %g]  largest |f'|  flat: |f'| < %g" % (
        RANGE, RANGE, FLAT))
    for name, (values, slopes) in both.items():
        flat = ['x <= %.2f' % high if low == grid[0] else 'x >= %.2f' % low
                for low, high in regions[name]]
        print('%-10s %8.4f %7.4f %7.4f %6.2f to %4.2f %13.4f  %s' % (
            name, *np.interp([-1, 0, 1], grid, values), values.min(), values.max(),
            np.abs(slopes).max(), ', '.join(flat) or 'nowhere'))
    return grid, both, regions


def perplexity(p):
    """Of a distribution p [k], 2 ^ entropy: a fair die of so many sides is as uncertain."""
    p = p[p > 0]                               # p log p goes to 0 with p
    return 2 ** -np.sum(p * np.log2(p))


def model_perplexity(q):
    """Of a model that gave the samples of a test set the probabilities q [samples]."""
    return 2 ** -np.mean(np.log2(q))


def word_perplexity(q, words):
    """Per word: sentences of so many words [sentences] have the probabilities q [sentences]."""
    return 2 ** (-np.sum(np.log2(q)) / np.sum(words))


def show_concepts(seed):
    """Print the small functions at work; returns the logits [3] and their softmax [3]."""
    z, label = np.array([3, 1, -3.0]), np.array([1, 0, 0.0])                 # [3], the notes' own
    vector = np.arange(1, 6, dtype=np.float32)                               # [5]
    images = np.arange(2 * 28 * 28).reshape(2, 28, 28)                       # [2, 28, 28]
    with tf.Graph().as_default() as graph:
        flattened = tf.reshape(images, [-1, 28 * 28])  # [2, 784]; -1: the batch keeps its size
        tensors = [
            tf.nn.softmax(z),                                                # [3]
            tf.nn.softmax_cross_entropy_with_logits_v2(labels=label, logits=z),  # []
            layers.dropout(np.tile(vector, [DRAWS, 1]), KEEP_PROB, [seed, 0]),  # [DRAWS, 5]
            flattened, tf.reshape(flattened, [-1, 28, 28])]                  # [2, 28, 28]
        with utils.session(graph) as session:
            probabilities, loss, draws, flattened, back = session.run(tensors)

    p = np.exp(z) / np.exp(z).sum()                                          # [3]
    print()
    for name, values in [
            ('softmax of 3, 1, -3, by hand', p),
            ('   by TensorFlow', probabilities),
            ('   sum', p.sum()),
            ('cross entropy with 1, 0, 0, by hand', -np.sum(label * np.log(p))),
            ('   by TensorFlow', loss),
            ('perplexity of that softmax', perplexity(p)),
            ('   of dice with 2, 6, 20 sides', [perplexity(np.full(k, 1 / k)) for k in (2, 6, 20)]),
            ('   of a model: samples at 1/2, 1/4, 1/4, 1/10', model_perplexity([.5, .25, .25, .1])),
            ('   per word: 4, 6, 2 words at 2^-12, 2^-24, 2^-10',
             word_perplexity([2 ** -12, 2 ** -24, 2 ** -10], [4, 6, 2])),
            ('dropout keeps %g of' % KEEP_PROB, vector),
            ('   enlarged by %g' % (1 / KEEP_PROB), draws[0]),
            ('   mean of %d draws' % DRAWS, draws.mean(axis=0)),
            ('   share kept', np.mean(draws > 0))]:
        print('%-50s' % name + ''.join('%9.4f' % value for value in np.atleast_1d(values)))
    print('flatten %s to %s and back to %s, equal: %s' % (
        images.shape, flattened.shape, back.shape, np.array_equal(images, back)))
    return z, p


def main():
    parser = utils.Flags(__doc__, STEPS, BATCH_SIZE, LEARNING_RATE, REPORT_EVERY, SEED)
    flags = parser.parse_args()
    data = utils.load(flags.data, flags.seed if flags.shuffle else None)
    log = utils.Log(parser, flags, data)
    curves = show_activations()
    logits, probabilities = show_concepts(flags.seed)
    if flags.plot:
        import plots  # not above: matplotlib takes seconds to load
        plots.activations(flags.plot, *curves, FLAT)
        plots.softmax(flags.plot, logits, probabilities)

    rows, missed = [], 0
    for rate in (flags.lr, TOO_LARGE * flags.lr):
        for name in layers.ACTIVATIONS:
            log.say('\n%s, learning rate %g' % (name, rate))
            log.part('%s_%g' % (name, rate))
            code, row = train(build_graph(flags, data.train, name, rate), data, flags, log)
            rows.append((name, rate) + row)
            missed |= code and rate == flags.lr  # too large a rate misses any target
    print('\nactivation    rate  test accuracy  dead units  outputs on flat ground  perplexity')
    for row in rows:
        print('%-10s  %6g  %12.1f%%  %9.1f%%  %21.1f%%  %#10.4g' % row)
    if flags.plot:
        plots.unit_health(flags.plot, rows, FLAT)
    return int(missed)


if __name__ == '__main__':
    utils.run(main)
