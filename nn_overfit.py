"""Overfitting, and three remedies: L2 regularisation, dropout, learning-rate decay.

Notes 1, "Regularization", "OverFit", "DropOut" and "Learning Rate Decay". As it stands, the network
of relu_nn.py is trained on the first 1,127 images only: it soon knows them by heart, and stops
getting better at others. --offset-range 0 gives it the whole training set back.

    python nn_overfit.py                                overfitting                     89.7 ± 0.2%
    python nn_overfit.py --dropout                      half of the units dropped       92.1 ± 0.8%
    python nn_overfit.py --offset-range 0 --l2 0.002    all data, weights penalised     95.4 ± 0.3%
    python nn_overfit.py --offset-range 0 --decay       all data, falling rate          94.5 ± 0.3%

Test accuracies on the letters in 10 to 20 seconds each, seeds 1 to 3, TensorFlow 2.21, two cores.
"""
from types import SimpleNamespace

import utils  # before TensorFlow: keeps its start-up chatter off the screen
import tensorflow.compat.v1 as tf

# ---------------------------------------------------------------------------------- constants
STEPS = 3001             # updates, each from one minibatch
BATCH_SIZE = 128         # images in a minibatch
LEARNING_RATE = 0.5
HIDDEN = 1024            # units in the hidden layer
STDDEV = 1.0             # of the initial weights: the notes' choice; try 0.1
REPORT_EVERY = 500       # steps
SEED = 42
OFFSET_RANGE = 1000      # minibatches start at images 0 to 999; 0: anywhere
L2 = 0.0                 # beta, the weight of the penalty; the notes try 0.001 and 0.002
KEEP_PROB = 0.5          # share of the hidden units that --dropout keeps
DECAY_STEPS = 1000       # with --decay the learning rate is multiplied by
DECAY_RATE = 0.9         # DECAY_RATE over each DECAY_STEPS, smoothly
# ---------------------------------------------------------------------------------------------


def forward(x, keep_prob, flags):
    """One hidden layer: x is float32 [batch, 784]; returns logits [batch, 10] and the weights."""
    weights1 = tf.Variable(tf.truncated_normal([784, HIDDEN], stddev=flags.stddev), name='weights1')
    biases1 = tf.Variable(tf.zeros([HIDDEN]), name='biases1')
    hidden = tf.nn.relu(tf.matmul(x, weights1) + biases1)                    # [batch, HIDDEN]
    if flags.dropout < 1:
        hidden = tf.nn.dropout(hidden, rate=1 - keep_prob)                   # [batch, HIDDEN]
    weights2 = tf.Variable(tf.truncated_normal([HIDDEN, 10], stddev=flags.stddev), name='weights2')
    biases2 = tf.Variable(tf.zeros([10]), name='biases2')
    logits = tf.matmul(hidden, weights2) + biases2                           # [batch, 10]
    return logits, [weights1, weights2]


def build_graph(flags, train):
    """Describe training and evaluation; train is a Split of float32 [n, 784] and [n, 10]."""
    graph = tf.Graph()
    with graph.as_default():
        tf.set_random_seed(flags.seed)
        step = tf.train.get_or_create_global_step()  # counted up by the optimizer

        with tf.name_scope('minibatch'):
            images = utils.resident(train.images)                            # [n, 784]
            labels = utils.resident(train.labels)                            # [n, 10]
            offset_range = flags.offset_range or max(len(train.labels) - flags.batch_size, 1)
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
            losses = {'cross entropy': tf.reduce_mean(
                tf.nn.softmax_cross_entropy_with_logits_v2(labels=y, logits=logits))}
            if flags.l2:  # on the weights alone: a bias cannot overfit by itself
                losses['l2'] = flags.l2 * tf.add_n([tf.nn.l2_loss(w) for w in weights])
        with tf.name_scope('train'):
            learning_rate = tf.constant(flags.lr)
            if flags.decay:
                learning_rate = tf.train.exponential_decay(
                    flags.lr, step, DECAY_STEPS, DECAY_RATE)
            optimizer = tf.train.GradientDescentOptimizer(learning_rate)
            train_op = optimizer.minimize(sum(losses.values()), global_step=step)
        with tf.name_scope('evaluation'):
            predictions = tf.argmax(logits, 1)                               # [batch], 0 to 9
            hits = tf.equal(predictions, tf.argmax(y, 1))                    # [batch]
            accuracy = tf.reduce_mean(tf.cast(hits, tf.float32))

        return SimpleNamespace(
            graph=graph, x=x, y=y, keep_prob=keep_prob, logits=logits, losses=losses,
            learning_rate=learning_rate, train_op=train_op, predictions=predictions,
            accuracy=accuracy, variables=tf.trainable_variables(),
            init=[tf.global_variables_initializer(), tf.local_variables_initializer()])


def train(net, data, flags, log):
    """Run the graph: step, report, keep the best weights; the test set is used once, at the end."""
    with utils.session(net.graph, flags.gpu_memory) as session:
        session.run(net.init)
        training = {net.keep_prob: flags.dropout}
        best_validation, best_step, best_values = -1.0, 0, None
        for step in range(flags.steps):
            if not log.due(step):
                session.run(net.train_op, training)  # nothing is fetched, so nothing is waited for
                continue
            _, losses, accuracy, learning_rate = session.run(
                [net.train_op, net.losses, net.accuracy, net.learning_rate], training)
            validation = utils.accuracy(session, net, data.valid)
            log.report(step, losses, accuracy, validation, learning_rate)
            if validation > best_validation:
                best_validation, best_step = validation, step
                best_values = session.run(net.variables)

        for variable, value in zip(net.variables, best_values):
            variable.load(value, session)
        predictions = utils.predict(session, net, data.test.images)          # [n], 0 to 9
        return log.finish(predictions, data.test, best_validation, best_step)


def main():
    parser = utils.Flags(__doc__, STEPS, BATCH_SIZE, LEARNING_RATE, REPORT_EVERY, SEED)
    parser.flag('--stddev', 'standard deviation of the initial weights', default=STDDEV,
                type=utils.number(float, 0))
    parser.flag('--offset-range', 'minibatches start at images 0 to N-1; 0: anywhere', metavar='N',
                default=OFFSET_RANGE, type=utils.number(int, 0))
    parser.flag('--l2', 'weight of the L2 penalty', metavar='BETA', default=L2,
                type=utils.number(float, 0))
    parser.flag('--dropout', 'share of the hidden units kept in training; KEEP is %g if not given'
                % KEEP_PROB, metavar='KEEP', nargs='?', const=KEEP_PROB, default=1.0,
                type=utils.number(float, 0, 1, open_low=True))
    parser.flag('--decay', 'let the learning rate fall', action='store_true')
    flags = parser.parse_args()
    data = utils.load(flags.data, flags.seed if flags.shuffle else None)
    log = utils.Log(parser, flags, data,
                    flags.offset_range and flags.offset_range + flags.batch_size - 1)
    if flags.offset_range + flags.batch_size > len(data.train.labels) + 1:
        raise utils.Refused('--offset-range %d and a minibatch of %d reach beyond the %d training '
                            'images: give a smaller one, or 0 for all.' % (
                                flags.offset_range, flags.batch_size, len(data.train.labels)))
    return train(build_graph(flags, data.train), data, flags, log)


if __name__ == '__main__':
    utils.run(main)
