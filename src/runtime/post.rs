//! Words between workers: a small dataflow beside the one that does the work.

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

use crate::ledger::Word;

/// A word, and the worker that it is for.
type Letter = (usize, Word);

/// One worker's end of the words that workers say to each other.
///
/// What one worker says to another arrives in the order in which it was said.
pub(crate) struct Post {
    index: usize,
    peers: usize,
    /// `None` once nothing more is to be said.
    input: Option<InputHandle<u64, CapacityContainerBuilder<Vec<Letter>>>>,
    inbox: Rc<RefCell<VecDeque<Word>>>,
}

impl std::fmt::Debug for Post {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Post").field("index", &self.index).finish_non_exhaustive()
    }
}

impl Post {
    pub(crate) fn install(worker: &mut Worker) -> Self {
        let (index, peers) = (worker.index(), worker.peers());
        let inbox: Rc<RefCell<VecDeque<Word>>> = Rc::default();
        let receiving = Rc::clone(&inbox);
        // A worker that is alone talks to itself without a dataflow.
        let input = (peers > 1).then(|| {
            worker.dataflow_named::<u64, _, _>("Ledger", move |scope| {
                let (input, letters) = scope.new_input::<Vec<Letter>>();
                let to = Exchange::new(|(to, _): &Letter| *to as u64);
                // By way of an operator: what it sends is flushed as it ends, while an input keeps what it has to
                // exchange until its time goes on.
                let letters = letters.map(|letter| letter);
                letters.unary::<CapacityContainerBuilder<Vec<()>>, _, _, _>(to, "Words", move |_, _| {
                    move |input, _output| {
                        input.for_each(|_, letters| {
                            receiving.borrow_mut().extend(letters.drain(..).map(|(_, word)| word));
                        });
                    }
                });
                input
            })
        });
        Post { index, peers, input, inbox }
    }

    /// Says `word` to worker `to`.
    pub(crate) fn say(&mut self, to: usize, word: Word) {
        if to == self.index {
            self.inbox.borrow_mut().push_back(word);
        } else if let Some(input) = &mut self.input {
            input.send((to, word));
            input.flush();
        }
    }

    /// Says `word` to all workers, this one too.
    pub(crate) fn say_all(&mut self, word: &Word) {
        for to in 0..self.peers {
            self.say(to, word.clone());
        }
    }

    /// The next word that was said to this worker.
    pub(crate) fn hear(&mut self) -> Option<Word> {
        self.inbox.borrow_mut().pop_front()
    }

    /// Nothing more is to be said.
    pub(crate) fn close(&mut self) {
        self.input = None;
    }
}
