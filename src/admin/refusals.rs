//! The refusals that each route of the API may give, for the OpenAPI document.

use std::collections::BTreeMap;

use utoipa::IntoResponses;
use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::response::{Response, ResponseBuilder};
use utoipa::openapi::{Ref, RefOr};

/// Statuses and the reasons for them.
const REFUSALS: [(&str, &str); 8] = [
    ("400", "A part of the request cannot be understood."),
    ("401", "The key is missing or wrong."),
    ("403", "The key does not allow this, or the request comes from a page of another origin."),
    ("404", "There is no such thing."),
    ("405", "The path does not take this method."),
    ("413", "The body is too long."),
    ("415", "The body is not announced as JSON."),
    ("422", "The body is JSON, but not of the form that the path takes."),
];

/// The refusals of all routes.
#[derive(Debug)]
pub struct Refusals;

impl IntoResponses for Refusals {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let refusal = |(status, why): (&str, &str)| {
            let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Refusal"))).build();
            let response = ResponseBuilder::new().description(why).content("application/json", content).build();
            (status.to_owned(), response.into())
        };
        REFUSALS.map(refusal).into()
    }
}
