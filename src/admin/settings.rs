//! The settings of the server: each with its source, and the change of those that may be changed while it runs.

use actix_web::HttpRequest;
use actix_web::web::{Data, Json};

use super::body::Body;
use super::error::ApiError;
use super::model::setting_values::SettingValues;
use super::model::{ChangedSetting, ChangedSettings, FaultCode, Setting, Settings};
use super::refusals::Refusals;
use super::shown::asker;
use super::state::Admin;
use crate::config::{Change, Changed, LIVE};

/// How long a change lasts.
const LASTS: &str = "until the next start";

/// All settings: the value that holds now, and its source. Secrets are masked.
#[utoipa::path(get, path = "/api/v1/settings", responses((status = 200, body = Settings), Refusals))]
pub async fn show(admin: Data<Admin>) -> Json<Settings> {
    let config = admin.config.get();
    let settings = config.rows().map(|row| Setting {
        key: row.key.to_owned(),
        value: row.value.to_owned(),
        source: row.source.to_string(),
        live: row.is_live,
        allowed: row.allowed.to_owned(),
    });
    Json(Settings { settings: settings.collect() })
}

/// Changes settings while the server runs: all that are named, or none.
#[utoipa::path(patch, path = "/api/v1/settings", request_body = SettingValues,
    responses((status = 200, body = ChangedSettings), Refusals))]
pub async fn change(
    admin: Data<Admin>,
    request: HttpRequest,
    Body(SettingValues(values)): Body<SettingValues>,
) -> Result<Json<ChangedSettings>, ApiError> {
    if values.len() > LIVE.len() {
        let most = format!("at most {} settings may be changed while the server runs", LIVE.len());
        return Err(ApiError::new(FaultCode::Invalid, most));
    }
    let who = format!("the admin API, for {}", asker(&request));
    let Changed { changes, to_keep } = admin
        .config
        .change(&values, &who)
        .map_err(|problems| ApiError::new(FaultCode::Invalid, problems.to_string()))?;
    admin.metrics.settings_changed.inc_by(changes.len() as u64);
    let changes = changes.into_iter().map(|Change { key, from, from_source, to }| ChangedSetting {
        key: key.to_owned(),
        from,
        from_source,
        to,
    });
    Ok(Json(ChangedSettings { changes: changes.collect(), to_keep, lasts: LASTS.to_owned() }))
}
