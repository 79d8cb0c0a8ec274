//! The door for the tests, the benches and the conformance server: the items of the crate that they use, and no others.
//! It is no public API, and changes with them.

pub use crate::files::raise_file_limit;
pub use crate::ids::{Ids, SidTag};

pub mod actors {
    pub use crate::actors::application::Application;
    pub use crate::actors::conversation::{
        Board, ConversationActor, ConversationMessage, ConversationSettings, Enter, Registrar,
    };
    pub use crate::actors::event_rates::RatesMax;
    pub use crate::actors::pending_entries::PendingEntries;
    pub use crate::actors::registry::Arbiters;
    pub use crate::actors::roster::{Roster, Tenure};
    pub use crate::actors::socketio::{Emitter, Namespace, Namespaces, SocketIoSession, SocketIoSettings};
}

pub mod bench {
    pub use crate::bench::client::Target;
    pub use crate::bench::engine::{self, Credentials, Job, RunError};
    pub use crate::bench::outcome::{Accounts, Circumstances, Doubt, Report};
    pub use crate::bench::plan::{Pace, Plan, Sizes, Way};
    pub use crate::bench::target::{Child, ChildError, How, Process};
}

pub mod board {
    pub use crate::board::conversations::{ConversationBoard, ConversationMeasure};
    pub use crate::board::sessions::{SessionBoard, SessionMeasure};
}

pub mod cluster {
    pub use crate::cluster::bus::{Bus, Census, Checked, Overflow, Status, check};
    pub use crate::cluster::door::{Closed, Door, FromBus};
    pub use crate::cluster::letters::{Handover, Letter, Offer, Refused, Return};
    pub use crate::cluster::message::{Channel, Content, Message, NodeId, NodeMessage, Presence, Stamp, Users};
    pub use crate::cluster::port::Port;
    pub use crate::cluster::settings::Settings;
    pub use crate::cluster::wire::{
        Answer, Dialect, Everybody, Ignored, Reading, Rejected, Settings as WireSettings, Wire,
    };
}

pub mod config {
    pub use crate::config::cost;
    pub use crate::config::{BaseUrl, Config, Demo, File, Max, Sources, message_bytes_min};
}

pub mod delivery {
    pub use crate::delivery::flusher::SocketHandle;
    pub use crate::delivery::fold::{News, Recount};
    pub use crate::delivery::limits::OutboxLimits;
    pub use crate::delivery::outbox::{Frames, Outbox};
    pub use crate::delivery::worker::{SessionLimits, Worker};
}

pub mod directory {
    pub use crate::directory::demo::{DemoMax, MOUNT};
    pub use crate::directory::max::{Gate, MaxDirectory, Target, Tokenless, TrustError};
    pub use crate::directory::{Answer, Directory, Failure, Question};
}

pub mod event {
    pub use crate::event::{
        ClientEvent, CloseReason, Code, ConversationId, EventName, Scalar, ServerEvent, SessionId, Talk, Token,
        Username,
    };
}

pub mod http {
    pub use crate::http::demo::routes as demo_routes;
    pub use crate::http::endpoint::{Endpoint, NewApplication};
    pub use crate::http::sessions::Sessions;
    pub use crate::http::socket::Stream;
    pub use crate::http::tags::SidTags;
    pub use crate::http::websocket::WebSocket;
}

pub mod limits {
    pub use crate::limits::bucket::Rate;
    pub use crate::limits::clients::{Bounds, Clients};
    pub use crate::limits::memory::Memory;
    pub use crate::limits::proxies::TrustedProxies;
}

pub mod logging {
    pub use crate::logging::{Look, escape, lines_lost, log_refusal, start};
}

pub mod mailbox {
    pub use crate::mailbox::{Addressed, Classified, Mail, Mailbox, SendError};
}

pub mod metrics {
    pub use crate::metrics::{ActorClass, Metrics, ReadAtScrape, ToConversation};
}

pub mod protocol {
    pub use crate::protocol::connection::{LegacyPeriods, Periods};
    pub use crate::protocol::frame::{Broadcast, Frame};
    pub use crate::protocol::socketio::Arguments;
    pub use crate::protocol::{
        Generation, ProtocolError, TransportKind, engine, handshake, jsonp, legacy, packet, payload, websocket,
    };
}

pub mod stage {
    pub use crate::stage::{Drain, Stage};
}

pub mod server {
    pub use crate::server::{ClientWorkers, Server};
}
