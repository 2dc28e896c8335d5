"""A deep network of any number of layers, each half as wide as the one before.

Notes 1, "Deep Network". Three things make depth work. The initial weights fit their layer, with a
standard deviation of sqrt(2 / inputs), or the signal dies or explodes on its way through. Dropout
fades towards the output, where each unit matters more. The learning rate falls as training goes on.

    python deep_nn.py --layers 6 --dropout --l2 0.001

Test accuracy 96.1 ± 0.1% on the letters in three minutes, seeds 1 to 3, TensorFlow 2.21, two cores.
"""
from types import SimpleNamespace

import utils  # before TensorFlow: keeps its start-up chatter off the screen
import tensorflow.compat.v1 as tf

# ---------------------------------------------------------------------------------- constants
STEPS = 20001            # updates, each from one minibatch
BATCH_SIZE = 128         # images in a minibatch
LEARNING_RATE = 0.3
LAYERS = 6               # weight layers: five hidden ones and the output
HIDDEN = 1024            # units in the first hidden layer; each further one has half as many,
MIN_UNITS = 64           # but no fewer than these: ten classes do not fit through two units
REPORT_EVERY = 1000      # steps
SEED = 42
L2 = 0.0                 # beta, the weight of the penalty; the notes use 0.001
KEEP_PROB = 0.5          # share of the units that --dropout keeps in the first hidden layer
DECAY = True             # the learning rate is multiplied by
DECAY_RATE = 0.5         # DECAY_RATE over each
DECAY_STEPS = 4000       # DECAY_STEPS steps, smoothly
# ---------------------------------------------------------------------------------------------


def forward(x, keep_prob, flags):
    """The deep network: x is float32 [batch, 784]; returns logits [batch, 10], all weights."""
    weights = []
    hidden, inputs, units = x, 784, flags.hidden
    for layer in range(flags.layers - 1):
        stddev = (2 / inputs) ** 0.5   # keeps the size of the signal from layer to layer (He 2015)
        weights.append(tf.Variable(tf.truncated_normal([inputs, units], stddev=stddev)))
        biases = tf.Variable(tf.zeros([units]))
        hidden = tf.nn.relu(tf.matmul(hidden, weights[-1]) + biases)         # [batch, units]
        if flags.dropout < 1:
            rate = (1 - keep_prob) * dropout_share(layer, flags.layers)
            hidden = tf.nn.dropout(hidden, rate=rate)                        # [batch, units]
        inputs, units = units, min(units, max(units // 2, MIN_UNITS))
    weights.append(tf.Variable(tf.truncated_normal([inputs, 10], stddev=(2 / inputs) ** 0.5)))
    biases = tf.Variable(tf.zeros([10]))
    return tf.matmul(hidden, weights[-1]) + biases, weights                  # [batch, 10]


def dropout_share(layer, layers):
    """Dropout fades with depth: how much of the first layer's rate hidden layer 0, 1, ... gets.

    The notes add 0.5 i / (layers + 1) to keep_prob at the i-th middle layer, which passes 1 with
    seven layers; here the rate never falls below a tenth of the first one.
    """
    return max(1 - layer * (layer - 1) / (layers + 1) / 2, 0.1)


def build_graph(flags, train):
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
        keep_prob = tf.placeholder_with_default(1.0, [], name='keep_prob')   # 1: nothing is dropped

        with tf.name_scope('forward'):
            logits, weights = forward(x, keep_prob, flags)                   # [batch, 10]
        with tf.name_scope('loss'):
            losses = [tf.reduce_mean(
                tf.nn.softmax_cross_entropy_with_logits_v2(labels=y, logits=logits))]
            if flags.l2:  # on the weights alone: a bias cannot overfit by itself
                losses.append(flags.l2 * tf.add_n([tf.nn.l2_loss(w) for w in weights]))
        with tf.name_scope('train'):
            learning_rate = tf.constant(flags.lr)
            if flags.decay:
                learning_rate = tf.train.exponential_decay(
                    flags.lr, step, DECAY_STEPS, DECAY_RATE)
            optimizer = tf.train.GradientDescentOptimizer(learning_rate)
            train_op = optimizer.minimize(tf.add_n(losses), global_step=step)
        with tf.name_scope('evaluation'):
            hits = tf.cast(tf.equal(tf.argmax(logits, 1), tf.argmax(y, 1)), tf.float32)  # [batch]
            correct, accuracy = tf.reduce_sum(hits), tf.reduce_mean(hits)

        return SimpleNamespace(
            graph=graph, x=x, y=y, keep_prob=keep_prob, logits=logits, losses=losses,
            learning_rate=learning_rate, train_op=train_op, correct=correct, accuracy=accuracy,
            variables=tf.trainable_variables(),
            init=[tf.global_variables_initializer(), tf.local_variables_initializer()])


def train(net, data, flags, log):
    """Run the graph: step, report, keep the best weights; the test set is used once, at the end."""
    with utils.session(net.graph) as session:
        session.run(net.init)
        training = {net.keep_prob: flags.dropout}
        best_validation, best_step, best_values = -1.0, 0, None
        for step in range(flags.steps):
            if not log.due(step):
                session.run(net.train_op, training)  # nothing is fetched, so nothing is waited for
                continue
            _, losses, accuracy, learning_rate = session.run(
                [net.train_op, net.losses, net.accuracy, net.learning_rate], training)
            validation = utils.count_correct(session, net, data.valid) / len(data.valid.labels)
            log.report(step, losses, accuracy, validation, learning_rate)
            if validation > best_validation:
                best_validation, best_step = validation, step
                best_values = session.run(net.variables)

        for variable, value in zip(net.variables, best_values):
            variable.load(value, session)
        correct = utils.count_correct(session, net, data.test)
        return log.finish(correct, len(data.test.labels), best_validation, best_step)


def main():
    parser = utils.Flags(__doc__, STEPS, BATCH_SIZE, LEARNING_RATE, REPORT_EVERY, SEED)
    parser.flag('--layers', 'weight layers, the output layer among them', metavar='N',
                default=LAYERS, type=utils.number(int, 2))
    parser.flag('--hidden', 'units in the first hidden layer', metavar='UNITS', default=HIDDEN,
                type=utils.number(int, 1))
    parser.flag('--l2', 'weight of the L2 penalty', metavar='BETA', default=L2,
                type=utils.number(float, 0))
    parser.flag('--dropout', 'share of the first hidden layer kept in training; KEEP is %g if not '
                'given' % KEEP_PROB, metavar='KEEP', nargs='?', const=KEEP_PROB, default=1.0,
                type=utils.number(float, 0, 1, open_low=True))
    parser.flag('--decay', 'let the learning rate fall', action='store_true', default=DECAY)
    parser.flag('--no-decay', 'keep the learning rate', action='store_false', dest='decay')
    flags = parser.parse_args()
    data = utils.load(flags.data, flags.seed if flags.shuffle else None)
    log = utils.Log(parser, flags, data)
    return train(build_graph(flags, data.train), data, flags, log)


if __name__ == '__main__':
    utils.run(main)
