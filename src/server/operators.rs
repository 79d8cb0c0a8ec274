//! The WebSocket of the listener for operators: the live connection of a dashboard. Any other request is answered by
//! the `App`, which also says why a connection is refused.

use std::future::Future;
use std::pin::Pin;

use actix_http::Request;
use actix_web::web::Data;

use crate::admin::live;
use crate::admin::state::Admin;
use crate::http::connection::{Upgrade, Upgraded};

/// Takes over the connections that become live.
#[derive(Clone)]
pub(super) struct Dashboards(pub(super) Data<Admin>);

impl Upgrade for Dashboards {
    fn takes(&self, request: &Request) -> bool {
        request.path() == live::PATH && live::judge(&self.0, request.head()).is_ok()
    }

    fn upgrade(&self, request: Request, socket: Upgraded) -> Pin<Box<dyn Future<Output = ()>>> {
        let admin = self.0.clone();
        Box::pin(async move {
            let Upgraded { stream, read, slot, stopping } = socket;
            live::socket::serve(admin, request.head(), stream, read, stopping).await;
            drop(slot);
        })
    }
}
