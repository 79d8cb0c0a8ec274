//! The new values of settings in a PATCH. A setting that is given twice is refused, as it is in a file.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, SchemaType, Type};
use utoipa::{PartialSchema, ToSchema};

use crate::config::LIVE;

/// New values of settings, by their names: numbers or texts.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SettingValues(pub BTreeMap<String, Value>);

impl ToSchema for SettingValues {
    fn name() -> Cow<'static, str> {
        "SettingValues".into()
    }
}

impl PartialSchema for SettingValues {
    fn schema() -> RefOr<Schema> {
        let names = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(LIVE)).build();
        let value = ObjectBuilder::new().schema_type(SchemaType::from_iter([Type::Integer, Type::String])).build();
        let values = ObjectBuilder::new()
            .description(Some("New values of settings, by their names: numbers or texts."))
            .property_names(Some(names))
            .additional_properties(Some(Schema::from(value)))
            .examples([serde_json::json!({"mailbox.conversation": 512})]);
        values.build().into()
    }
}

impl<'de> Deserialize<'de> for SettingValues {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Settings)
    }
}

/// Reads the settings of an object.
struct Settings;

impl<'de> Visitor<'de> for Settings {
    type Value = SettingValues;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of settings, such as {\"mailbox.conversation\": 512}")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut object: M) -> Result<SettingValues, M::Error> {
        let mut values = BTreeMap::new();
        while let Some((key, value)) = object.next_entry()? {
            if values.insert(key, value).is_some() {
                return Err(M::Error::custom("a setting is given twice"));
            }
        }
        Ok(SettingValues(values))
    }
}
