//! What is wrong with a RabbitMQ, in words that say what to do.

use std::io;
use std::sync::Arc;

use super::method::Reply;
use super::wire::EVENTS;

/// The reason why a connection could not be made, or is of no use.
pub type Fault = Arc<str>;

/// The code of a server that refuses a right.
const ACCESS_REFUSED: u16 = 403;

/// The code of a server that does not have what was named.
const NOT_FOUND: u16 = 404;

/// The code of a virtual host that is not there or that the user may not use.
const NOT_ALLOWED: u16 = 530;

/// Returns why the encryption could not begin.
pub fn tls(host: &str, error: &io::Error) -> Fault {
    let text = error.to_string();
    let hint = if text.contains("UnknownIssuer") {
        ": set feed.ca_file to the certificate of its authority"
    } else if text.contains("NotValidForName") || text.contains("not valid for name") {
        ": feed.url has to have the name that the certificate has"
    } else if text.contains("InvalidContentType") || text.contains("corrupt message") {
        ": it does not speak TLS on this port: is amqps:// right?"
    } else {
        ""
    };
    format!("the connection to {host} cannot be encrypted: {text}{hint}").into()
}

/// Returns why a connection has ended.
pub fn broken(error: &io::Error) -> Fault {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "the server has closed the connection".into(),
        _ => format!("the connection is broken: {error}").into(),
    }
}

/// Returns why the server has closed a connection that was being made or was in use.
pub fn closed(reply: &Reply, username: &str, vhost: &str) -> Fault {
    let hint = match reply.code {
        ACCESS_REFUSED => format!(": look at the user `{username}`, feed.password_file and the password in feed.url"),
        NOT_ALLOWED => format!(": is `{vhost}` the virtual host of MAX, and may `{username}` use it?"),
        _ => String::new(),
    };
    format!("the server closes the connection: {} {}{hint}", reply.code, reply.text).into()
}

/// Returns why the server has refused a step, whose refusal closes its channel. `right` is the right that the step
/// needs.
pub fn refused(reply: &Reply, right: &str) -> Fault {
    let hint = match reply.code {
        ACCESS_REFUSED => format!(": the user needs {right}"),
        NOT_FOUND if reply.text.contains(EVENTS) => {
            ": a plugin makes it, in one virtual host: rabbitmq-plugins enable rabbitmq_event_exchange".to_owned()
        }
        NOT_FOUND if reply.text.contains("exchange") => {
            ": MAX makes this exchange: is feed.url the RabbitMQ and the virtual host of MAX, and is feed.layout its \
             release?"
                .to_owned()
        }
        _ => String::new(),
    };
    format!("{} {}{hint}", reply.code, reply.text).into()
}

/// Returns why the server does not let an exchange be heard that the feed can do without: it is not there, or the user
/// may not read it.
///
/// # Errors
/// Something else is wrong with the server, and it is said as [`refused`] says it.
pub fn unheard(reply: &Reply, right: &str) -> Result<Fault, Fault> {
    let fault = refused(reply, right);
    if matches!(reply.code, NOT_FOUND | ACCESS_REFUSED) { Ok(fault) } else { Err(fault) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_say_what_to_do() {
        let reply = |code, text: &str| Reply { code, text: text.to_owned() };
        for (fault, words) in [
            (closed(&reply(403, "ACCESS_REFUSED - Login was refused"), "u", "/"), "look at the user `u`"),
            (closed(&reply(530, "NOT_ALLOWED - vhost v not found"), "u", "v"), "may `u` use it?"),
            (closed(&reply(320, "CONNECTION_FORCED - broker forced"), "u", "v"), "320 CONNECTION_FORCED"),
            (refused(&reply(403, "ACCESS_REFUSED - access"), "to read x"), "the user needs to read x"),
            (refused(&reply(404, "NOT_FOUND - no exchange 'c' in vhost '/'"), ""), "MAX makes this exchange"),
            (refused(&reply(404, "NOT_FOUND - no exchange 'amq.rabbitmq.event'"), ""), "rabbitmq-plugins enable"),
            (refused(&reply(404, "NOT_FOUND - no queue 'q'"), ""), "no queue 'q'"),
        ] {
            assert!(fault.contains(words), "{fault}");
        }
    }
}
