//! Reading the audit trail.

use std::collections::HashMap;

use uuid::Uuid;

use super::{super::refusal::Refusal, Call};
use crate::{
    audit::{
        log::{LogName, LogPath},
        published,
        query::{self, Filter, FoundEvent, Marker, Page},
    },
    domain::GatewayAction::ReadAudit,
    policy::Reach,
};

impl Call {
    /// Lists events that the caller may read.
    pub async fn list_events(
        &self,
        filter: &Filter,
        marker: Option<Marker>,
        limit: usize,
    ) -> Result<Page, Refusal> {
        let one = filter.team.as_deref();
        self.may(ReadAudit, one.map_or(Reach::Any, Reach::Team))?;
        let found = async {
            let mut known = HashMap::new();
            let may_read = |teams: &[&str]| one.is_some() || self.may_read(teams, &mut known);
            let store = self.store()?;
            let _turn = store.reader().await?;
            Ok(query::list(store, filter, marker, limit, may_read).await?)
        };
        self.looked_up(found.await).await
    }

    /// Reads an event. Whoever may not read it does not learn that there is one; what was
    /// decided is on record.
    pub async fn read_event(&self, id: Uuid) -> Result<FoundEvent, Refusal> {
        self.may(ReadAudit, Reach::Any)?;
        let found = async {
            let store = self.store()?;
            let _turn = store.reader().await?;
            query::find(store, id).await?.ok_or(Refusal::EventNotFound)
        };
        let event = match found.await {
            Ok(event) => event,
            Err(refusal) => return self.looked_up(Err(refusal)).await,
        };
        let mut readable = event.teams.iter().map(|team| Reach::Team(team));
        let first = readable.clone().next().unwrap_or(Reach::All);
        let readable = readable.find(|reach| self.decides(*reach));
        let allowed = self.may(ReadAudit, readable.unwrap_or(first));
        self.looked_up(allowed.map(|()| event).map_err(|_| Refusal::EventNotFound)).await
    }

    /// Reads what a log publishes. Tiles and entry bundles are about every team. A
    /// checkpoint tells of no records, so whoever may read some may read it.
    pub async fn read_log(&self, name: LogName, path: LogPath) -> Result<Vec<u8>, Refusal> {
        let reach = if path == LogPath::Checkpoint { Reach::Any } else { Reach::All };
        self.may(ReadAudit, reach)?;
        let found = async {
            let store = self.store()?;
            let _turn = store.reader().await?;
            published::read(store, name, path).await?.ok_or(Refusal::LogNotFound)
        };
        self.looked_up(found.await).await
    }

    /// Whether the caller may read what happened to one of these teams, or, if it happened
    /// to none, everything.
    fn may_read(&self, teams: &[&str], known: &mut HashMap<String, bool>) -> bool {
        let mut may = |team: &str, reach| {
            if let Some(may) = known.get(team) {
                return *may;
            }
            let may = self.decides(reach);
            known.insert(team.to_owned(), may);
            may
        };
        match teams {
            [] => may("", Reach::All),
            teams => teams.iter().any(|team| may(team, Reach::Team(team))),
        }
    }

    fn decides(&self, reach: Reach<'_>) -> bool {
        self.policies.decide_own(&self.principal, ReadAudit, reach, &self.context).is_ok()
    }

    /// Notes what became of a look at what the store holds.
    ///
    /// # Errors
    /// What is given; or the settings want a record, and it is not durable.
    pub async fn looked_up<T>(&self, found: Result<T, Refusal>) -> Result<T, Refusal> {
        let result = match &found {
            Ok(_) => "ok",
            Err(Refusal::StoreRequired) => "not-attempted",
            Err(_) => "failed",
        };
        self.recorder.edit().error_code = found.as_ref().err().map(Refusal::code);
        self.answered(result).await?;
        found
    }
}
