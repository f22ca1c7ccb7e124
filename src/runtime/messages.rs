//! Messages between workers: a small dataflow beside the one that does the work.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use timely::container::CapacityContainerBuilder;
use timely::dataflow::InputHandle;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::Input;
use timely::dataflow::operators::generic::operator::Operator;
use timely::dataflow::operators::vec::Map;
use timely::worker::Worker;

use crate::ledger::Message;

/// A message, and the worker that it is for.
type Addressed = (usize, Message);

/// One worker's end of the messages that workers send each other.
///
/// What one worker sends to another arrives in the order in which it was sent.
pub(crate) struct Messages {
    index: usize,
    peers: usize,
    /// `None` once nothing more is to be sent.
    input: Option<InputHandle<u64, CapacityContainerBuilder<Vec<Addressed>>>>,
    inbox: Rc<RefCell<VecDeque<Message>>>,
}

impl std::fmt::Debug for Messages {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Messages").field("index", &self.index).finish_non_exhaustive()
    }
}

impl Messages {
    pub(crate) fn install(worker: &mut Worker) -> Self {
        let (index, peers) = (worker.index(), worker.peers());
        let inbox: Rc<RefCell<VecDeque<Message>>> = Rc::default();
        let receiving = Rc::clone(&inbox);
        // A worker that is alone talks to itself without a dataflow.
        let input = (peers > 1).then(|| {
            worker.dataflow_named::<u64, _, _>("Ledger", move |scope| {
                let (input, messages) = scope.new_input::<Vec<Addressed>>();
                let to = Exchange::new(|(to, _): &Addressed| *to as u64);
                // By way of an operator: what it sends is flushed as it ends, while an input keeps what it has to
                // exchange until its time goes on.
                let messages = messages.map(|message| message);
                messages.unary::<CapacityContainerBuilder<Vec<()>>, _, _, _>(to, "Messages", move |_, _| {
                    move |input, _output| {
                        input.for_each(|_, messages| {
                            receiving.borrow_mut().extend(messages.drain(..).map(|(_, message)| message));
                        });
                    }
                });
                input
            })
        });
        Messages { index, peers, input, inbox }
    }

    /// Sends `message` to worker `to`.
    pub(crate) fn send(&mut self, to: usize, message: Message) {
        if to == self.index {
            self.inbox.borrow_mut().push_back(message);
        } else if let Some(input) = &mut self.input {
            input.send((to, message));
            input.flush();
        }
    }

    /// Sends `message` to all workers, this one too.
    pub(crate) fn broadcast(&mut self, message: &Message) {
        for to in 0..self.peers {
            self.send(to, message.clone());
        }
    }

    /// The next message that was sent to this worker.
    pub(crate) fn receive(&mut self) -> Option<Message> {
        self.inbox.borrow_mut().pop_front()
    }

    /// Nothing more is to be sent.
    pub(crate) fn close(&mut self) {
        self.input = None;
    }
}
