//! News that did not fit into an outbox, folded by conversation, so that their number depends on the conversations of
//! the reader and not on how much is said there. Pure.
//!
//! The updates of a conversation become one, for the first of them, with their number. Its `joined` and `left` become a
//! mark: when the reader has caught up, the conversation is asked for a recount, and sends one `people`. The
//! conversations of which a cluster has lost news become one list.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;

use crate::event::{ConversationId, SessionId, Talk, Username};

/// News of a conversation for its members.
#[derive(Clone, Debug)]
pub enum News {
    /// A user has talked.
    Update {
        /// The namespace of the conversation's events.
        namespace: Arc<str>,
        /// The user.
        username: Username,
        /// The talk.
        talk: Talk,
    },
    /// A user has begun or stopped to listen. The recount makes up for the event if a reader does not get it.
    Presence(Arc<dyn Recount>),
    /// News was lost between the nodes of a cluster, or on its way from MAX.
    Loss {
        /// The namespace of the event that tells of it.
        namespace: Arc<str>,
        /// The news that was lost.
        loss: Loss,
    },
}

/// News that was lost between the nodes of a cluster, or on its way from MAX.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Loss {
    /// News of one conversation.
    Conversation(ConversationId),
    /// News of any conversation: the node was cut off.
    Outage(Outage),
}

/// A time in which the node was cut off from the others, or from what MAX announces. A session is told of its beginning
/// and of its end once, however many conversations it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Outage {
    /// The number of the outage since the start, from 1.
    pub number: u64,
    /// Whether it is over.
    pub over: bool,
}

impl News {
    /// Returns whether it has to reach a reader even where the policy leaves out news.
    pub fn is_owed(&self) -> bool {
        matches!(self, Self::Loss { .. })
    }
}

/// The way to ask a conversation who is there.
pub trait Recount: fmt::Debug + Send + Sync {
    /// Returns the conversation.
    fn conversation(&self) -> &ConversationId;

    /// Asks the conversation to push one `people` to this session by `Outbox::push_people`. It does so
    /// between its other events, so that the `people` agrees with those before and after it.
    fn request(&self, session: SessionId);
}

/// The updates of one conversation that a reader has not got.
#[derive(Debug)]
pub struct Missed {
    /// The namespace of the conversation's events.
    pub namespace: Arc<str>,
    /// The author of the first of them.
    pub username: Username,
    /// The first of them.
    pub talk: Talk,
    /// Their number, the first included.
    pub count: u64,
}

/// The `joined` and `left` of one conversation that a reader has not got.
#[derive(Debug)]
struct Mark {
    recount: Arc<dyn Recount>,
    /// Whether the recount is requested and has not come yet.
    requested: bool,
}

/// The losses that a reader has not been told of.
#[derive(Debug)]
pub struct Losses {
    /// The namespace of the event that tells of them.
    pub namespace: Arc<str>,
    /// The latest outage.
    pub outage: Option<Outage>,
    /// The conversations with losses of their own. The end of an outage covers those before it.
    pub conversations: BTreeSet<ConversationId>,
}

impl Losses {
    fn add(&mut self, loss: &Loss) {
        match loss {
            Loss::Conversation(id) => drop(self.conversations.insert(id.clone())),
            Loss::Outage(outage) => {
                self.outage = Some(*outage);
                if outage.over {
                    self.conversations.clear();
                }
            }
        }
    }
}

/// The folded news of one reader: for each conversation at most one update and one mark, and all losses together.
#[derive(Debug, Default)]
pub struct Folds {
    updates: HashMap<ConversationId, Missed>,
    marks: HashMap<ConversationId, Mark>,
    losses: Option<Losses>,
    /// The conversations in `updates`, in the order of their first missed update.
    update_order: VecDeque<ConversationId>,
    /// The conversations in `marks` whose recount is not requested, in the order of their first missed event.
    mark_order: VecDeque<ConversationId>,
}

impl Folds {
    /// Returns whether `news` has to be folded even if there is room for it: earlier news of its kind and conversation
    /// is folded, and would come after it.
    pub fn precede(&self, news: &News) -> bool {
        match news {
            News::Update { talk, .. } => self.updates.contains_key(&talk.conversation),
            News::Presence(recount) => self.marks.contains_key(recount.conversation()),
            News::Loss { .. } => self.losses.is_some(),
        }
    }

    /// Folds `news`.
    pub fn add(&mut self, news: &News) {
        match news {
            News::Update { namespace, username, talk } => {
                let id = &talk.conversation;
                if let Some(missed) = self.updates.get_mut(id) {
                    missed.count += 1;
                    return;
                }
                let (namespace, username, talk) = (namespace.clone(), username.clone(), talk.clone());
                let missed = Missed { namespace, username, talk, count: 1 };
                self.updates.insert(id.clone(), missed);
                self.update_order.push_back(id.clone());
            }
            News::Presence(recount) => {
                let id = recount.conversation();
                if !self.marks.contains_key(id) {
                    self.marks.insert(id.clone(), Mark { recount: recount.clone(), requested: false });
                    self.mark_order.push_back(id.clone());
                }
            }
            News::Loss { namespace, loss } => {
                let new = || Losses { namespace: namespace.clone(), outage: None, conversations: BTreeSet::new() };
                self.losses.get_or_insert_with(new).add(loss);
            }
        }
    }

    /// Takes out the losses.
    pub fn take_losses(&mut self) -> Option<Losses> {
        self.losses.take()
    }

    /// Takes out the folded update that has waited longest.
    pub fn next_update(&mut self) -> Option<Missed> {
        let id = self.update_order.pop_front()?;
        self.updates.remove(&id)
    }

    /// Returns the next recount that has to be requested. Its conversation stays marked until the recount
    /// [has come](Self::recounted), so that events in between are not told twice.
    pub fn next_recount(&mut self) -> Option<Arc<dyn Recount>> {
        let mark = self.marks.get_mut(&self.mark_order.pop_front()?)?;
        mark.requested = true;
        Some(mark.recount.clone())
    }

    /// Returns the conversations whose recount has not come.
    pub fn marked(&self) -> impl Iterator<Item = &ConversationId> {
        self.marks.keys()
    }

    /// Returns the number of recounts that are requested and have not come yet.
    pub fn requested(&self) -> usize {
        self.marks.len() - self.mark_order.len()
    }

    /// Returns whether a recount of this conversation is requested and has not come yet.
    pub fn awaits_recount(&self, conversation: &ConversationId) -> bool {
        self.marks.get(conversation).is_some_and(|mark| mark.requested)
    }

    /// Notes that the recount of a conversation has come, and that the reader gets it.
    pub fn recounted(&mut self, conversation: &ConversationId) {
        self.marks.remove(conversation);
    }

    /// Notes that the recount of a conversation has come, and that there was no room for it. It is requested again.
    pub fn postpone(&mut self, conversation: &ConversationId) {
        if let Some(mark) = self.marks.get_mut(conversation)
            && std::mem::replace(&mut mark.requested, false)
        {
            self.mark_order.push_back(conversation.clone());
        }
    }

    /// Forgets the news of a conversation that the reader has left.
    pub fn forget(&mut self, conversation: &ConversationId) {
        if self.updates.remove(conversation).is_some() {
            self.update_order.retain(|id| id != conversation);
        }
        if self.marks.remove(conversation).is_some_and(|mark| !mark.requested) {
            self.mark_order.retain(|id| id != conversation);
        }
        if let Some(losses) = &mut self.losses {
            losses.conversations.remove(conversation);
            if losses.conversations.is_empty() && losses.outage.is_none() {
                self.losses = None;
            }
        }
    }

    /// Returns whether nothing is folded.
    pub fn is_empty(&self) -> bool {
        self.updates.is_empty() && self.marks.is_empty() && self.losses.is_none()
    }
}
