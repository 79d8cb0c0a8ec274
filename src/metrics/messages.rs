//! The kinds of message to the actors of each class, by which mailboxes are measured.

use super::labels::{ActorClass, MessageName};

/// A kind of message to the actors of one class.
pub trait MessageKind: Copy {
    /// The class.
    const CLASS: ActorClass;

    /// The number of the kind among those of its class.
    fn number(self) -> usize;
}

/// Declares the kinds of message of each class.
macro_rules! message_kinds {
    ($(#[doc = $about:literal] $Class:ident: $Name:ident {
        $(#[doc = $doc:literal] $Variant:ident = $text:literal,)+
    })+) => {
        $(
            #[doc = $about]
            #[derive(Clone, Copy, Debug, PartialEq, Eq)]
            pub enum $Name {
                $(#[doc = $doc] $Variant,)+
            }

            impl MessageKind for $Name {
                const CLASS: ActorClass = ActorClass::$Class;

                fn number(self) -> usize {
                    self as usize
                }
            }
        )+

        impl ActorClass {
            /// The values of the label `message` for the kinds of message of the class, in the order of their numbers.
            pub fn messages(self) -> &'static [MessageName] {
                match self { $(Self::$Class => &[$(MessageName($text)),+],)+ }
            }
        }
    };
}

message_kinds! {
    /// Messages to a session.
    Session: ToSession {
        /// A socket has come.
        Attach = "attach",
        /// A GET waits for packets.
        Poll = "poll",
        /// A POST has brought packets.
        Post = "post",
        /// A POST has failed.
        AbortPost = "abort_post",
        /// The session is to end.
        Abort = "abort",
    }

    /// Messages to a conversation.
    Conversation: ToConversation {
        /// A session enters.
        Enter = "enter",
        /// A session leaves.
        Leave = "leave",
        /// A member talks.
        Talk = "talk",
        /// A back end tells of news.
        Announce = "announce",
        /// A member asks who is there.
        Ask = "ask",
        /// A member has missed who is there, and is told now.
        Recount = "recount",
        /// An operator asks for the members.
        Members = "members",
        /// The bus brings news of other nodes of the cluster.
        Bus = "bus",
        /// The feed tells what may be lost.
        Feed = "feed",
    }

    /// Messages to the registry.
    Registry: ToRegistry {
        /// A session asks to join.
        Join = "join",
        /// A session enters its conversations.
        EnterAll = "enter_all",
        /// A conversation asks to retire.
        Retire = "retire",
        /// A session has missed who is in a conversation.
        Recount = "recount",
    }

    /// Messages to the gate in front of MAX.
    Max: ToMax {
        /// A join waits for its call.
        Join = "join",
    }
}
