//! Finding what a job would abort: uploads are listed here, and looked at in their lanes.

use std::collections::{BTreeSet, HashSet};

use sqlx::AssertSqlSafe;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{
    Jobs, claims,
    create::CHUNK,
    error::JobError,
    model::{Confirm, NewAbortJob, Preview, State},
    party::{Party, Stop},
    request::places,
    rows::{self, Row, values},
};
use crate::{
    domain::{GatewayAction, Operation, RegionalAccount, VaultArn, VaultName},
    gateway::{Actor, Call, Refusal},
    glacier::{Pages, UpstreamError, UpstreamErrorKind},
    inventory::listed::Listed,
    policy::matches_wildcards,
    store::{Lease, both, time},
    telemetry::traces::Trace,
};

/// A listing of a job's uploads under way.
struct Listing<'a> {
    jobs: &'a Jobs,
    row: &'a Row,
    request: &'a NewAbortJob,
    creator: Actor,
    lease: &'a Lease,
    trace: Trace,
    preview: Preview,
    selected: Vec<(VaultArn, Listed)>,
    n: i64,
}

impl Jobs {
    /// Lists the uploads that a job selects, under the job's lease, unless somebody has.
    pub(super) async fn list_uploads(&self, id: &str, lease: &Lease) -> Result<(), JobError> {
        let store = self.store()?;
        let row = self.row(id).await?;
        if !is_to_be_listed(&row) {
            return Ok(());
        }
        let request = row.request()?;
        let named = request.select.upload_ids.is_some();
        let party = match Party::of(&self.gateway, &row)? {
            Ok(party) => party,
            Err(Stop { code, detail }) => return Ok(claims::stop(store, id, code, &detail).await?),
        };
        let preview = if named {
            Preview { uploads: u64::try_from(row.selected).unwrap_or(0), ..Preview::default() }
        } else {
            self.begin_again(id, lease).await?;
            let mut span = Trace::of_job(id).span("job listing");
            span.text("glacier_gateway.job.id", Some(id));
            let mut listing = Listing {
                trace: span.trace(),
                jobs: self,
                row: &row,
                request: &request,
                creator: party.creator,
                lease,
                preview: Preview::default(),
                selected: Vec::new(),
                n: 0,
            };
            match listing.run().await? {
                Ok(()) => listing.preview,
                Err(Stop { code, detail }) => {
                    return Ok(claims::stop(store, id, code, &detail).await?);
                }
            }
        };
        self.listed(id, lease, &preview).await
    }

    /// Whether a job's uploads are still to be listed. If its creator may no longer ask for
    /// them, it is stopped.
    pub(super) async fn is_to_be_listed(&self, id: &str) -> Result<bool, JobError> {
        let row = self.row(id).await?;
        if let Err(Stop { code, detail }) = Party::of(&self.gateway, &row)? {
            claims::stop(self.store()?, id, code, &detail).await?;
            return Ok(false);
        }
        Ok(is_to_be_listed(&row))
    }

    /// Forgets what an earlier listing has found.
    async fn begin_again(&self, id: &str, lease: &Lease) -> Result<(), JobError> {
        let store = self.store()?;
        let begin = store.begin();
        both!(store, pool => {
            let mut transaction = pool.begin_with(begin).await?;
            let sql = "UPDATE job SET epoch = $2, selected = 0 \
                       WHERE id = $1 AND state = 'preparing' AND epoch <= $2";
            let mine = sqlx::query(sql)
                .bind(id)
                .bind(lease.epoch)
                .execute(&mut *transaction)
                .await?;
            if mine.rows_affected() == 1 {
                sqlx::query("DELETE FROM job_item WHERE job = $1")
                    .bind(id)
                    .execute(&mut *transaction)
                    .await?;
            }
            transaction.commit().await?;
        }, JobError);
        Ok(())
    }

    /// Notes that all is listed, so that the lanes look at it.
    async fn listed(&self, id: &str, lease: &Lease, preview: &Preview) -> Result<(), JobError> {
        let store = self.store()?;
        let begin = store.begin();
        let preview = serde_json::to_string(preview).unwrap_or_default();
        let lanes = "INSERT INTO job_lane (job, account, region) \
                     SELECT DISTINCT job, account, region FROM job_item WHERE job = $1 \
                     ON CONFLICT DO NOTHING";
        let sql = "UPDATE job SET preview = $2, epoch = $3 WHERE id = $1 AND state = 'preparing' \
                   AND epoch <= $3 AND preview IS NULL";
        both!(store, pool => {
            let mut transaction = pool.begin_with(begin).await?;
            let mine = sqlx::query(sql)
                .bind(id)
                .bind(&preview)
                .bind(lease.epoch)
                .execute(&mut *transaction)
                .await?;
            if mine.rows_affected() == 1 {
                sqlx::query(lanes).bind(id).execute(&mut *transaction).await?;
            }
            transaction.commit().await?;
        }, JobError);
        self.wake();
        Ok(())
    }

    /// Ends the preparation of a job whose items were all looked at: it waits for a
    /// confirmation, or begins.
    pub(super) async fn prepared(&self, id: &str) -> Result<(), JobError> {
        let store = self.store()?;
        let row = self.row(id).await?;
        let Some(preview) = &row.preview else { return Ok(()) };
        let mut preview: Preview = rows::stored(preview)?;
        let now = store.now();
        let sums = format!(
            "SELECT count(*), coalesce(sum(CASE WHEN decision = 'allowed' THEN 1 ELSE 0 END), 0), \
             coalesce(sum(CASE WHEN decision IN ('explicitDeny', 'implicitDeny') THEN 1 ELSE 0 END), 0), \
             coalesce(sum(CASE WHEN state = 'gone' THEN 1 ELSE 0 END), 0), \
             coalesce(sum(CASE WHEN not_before > {now} THEN 1 ELSE 0 END), 0), \
             CAST(coalesce(sum(parts), 0) AS BIGINT), CAST(coalesce(sum(bytes), 0) AS BIGINT), \
             CAST(coalesce(sum(CASE WHEN state = 'gone' THEN 0 \
                 WHEN parts > 50 THEN 1 + (parts + 49) / 50 ELSE 2 END), 0) AS BIGINT), \
             min(created), max(created) \
             FROM job_item WHERE job = $1 AND state <> 'unselected'"
        );
        type Sums = (i64, i64, i64, i64, i64, i64, i64, i64, Option<i64>, Option<i64>);
        let left = "SELECT i.n FROM job_lane l CROSS JOIN job_item i \
                    WHERE l.job = $1 AND i.job = l.job AND i.account = l.account \
                    AND i.region = l.region AND i.state = 'found' LIMIT 1";
        let sums: Option<Sums> = both!(store, pool => {
            let left: Option<(i64,)> = sqlx::query_as(left).bind(id).fetch_optional(pool).await?;
            match left {
                Some(_) => None,
                None => Some(sqlx::query_as(AssertSqlSafe(sums)).bind(id).fetch_one(pool).await?),
            }
        }, JobError);
        let Some(sums) = sums else { return Ok(()) };
        let (selected, allowed, denied, gone, waiting, parts, bytes, calls, oldest, newest) = sums;
        let number = |sum: i64| u64::try_from(sum).unwrap_or(0);
        (preview.allowed, preview.denied) = (number(allowed), number(denied));
        (preview.gone, preview.waiting) = (number(gone), number(waiting));
        (preview.parts, preview.bytes, preview.calls) =
            (number(parts), number(bytes), number(calls));
        (preview.oldest, preview.newest) = (oldest.map(time), newest.map(time));
        if row.request()?.select.quiet_for.is_none() {
            preview.calls = number(selected - gone);
        }
        let confirmed = self.confirms_itself(&row)?;
        let state = match row.request()?.confirm {
            Confirm::Never => "completed",
            _ if confirmed => "queued",
            _ => "awaiting-confirmation",
        };
        let confirmer = row.confirmer.as_ref().filter(|_| confirmed);
        let preview = serde_json::to_string(&preview).unwrap_or_default();
        let update = format!(
            "UPDATE job SET state = $2, token = $3, preview = $4, selected = $5, gone = $6, \
             confirmer = $7, finished = CASE WHEN $2 = 'completed' THEN {now} END, \
             revision = revision + 1, changed = {now} WHERE id = $1 \
             AND state = 'preparing' AND error_code IS NULL"
        );
        let begin = store.begin();
        let token = Uuid::new_v4().simple().to_string();
        both!(store, pool => {
            let mut transaction = pool.begin_with(begin).await?;
            let changed = sqlx::query(AssertSqlSafe(update))
                .bind(id)
                .bind(state)
                .bind(&token)
                .bind(&preview)
                .bind(selected)
                .bind(gone)
                .bind(confirmer)
                .execute(&mut *transaction)
                .await?;
            if changed.rows_affected() == 1 {
                sqlx::query("DELETE FROM job_item WHERE job = $1 AND state = 'unselected'")
                    .bind(id)
                    .execute(&mut *transaction)
                    .await?;
            }
            transaction.commit().await?;
        }, JobError);
        self.wake();
        Ok(())
    }

    /// Whether the job needs nobody's confirmation, as its creator may still ask for.
    fn confirms_itself(&self, row: &Row) -> Result<bool, JobError> {
        if row.request()?.confirm != Confirm::Auto {
            return Ok(false);
        }
        let Ok(party) = Party::of(&self.gateway, row)? else { return Ok(false) };
        let call = party.creator.call(
            self.gateway.clone(),
            Uuid::now_v7(),
            row.id.clone(),
            Trace::default(),
        );
        Ok(call.may_with_job(GatewayAction::ConfirmOwnAbortJob, &row.team, &row.id))
    }
}

fn is_to_be_listed(row: &Row) -> bool {
    row.state() == State::Preparing && row.preview.is_none() && row.error_code.is_none()
}

type Done = Result<Result<(), Stop>, JobError>;

impl Listing<'_> {
    async fn run(&mut self) -> Done {
        let gateway = &self.jobs.gateway;
        for place in places(&gateway.upstream.accounts(), gateway, self.request) {
            let vaults = match self.vaults(&place).await? {
                Ok(vaults) => vaults,
                Err(stop) => return Ok(Err(stop)),
            };
            for vault in vaults {
                let RegionalAccount { region, account } = place.clone();
                if let Err(stop) = self.vault(VaultArn { region, account, vault }).await? {
                    return Ok(Err(stop));
                }
            }
        }
        self.insert().await
    }

    fn call(&self) -> Call {
        let id = self.row.id.clone();
        self.creator.call(self.jobs.gateway.clone(), Uuid::now_v7(), id, self.trace.clone())
    }

    /// The vaults of an account and region that the target names.
    async fn vaults(
        &self,
        place: &RegionalAccount,
    ) -> Result<Result<BTreeSet<VaultName>, Stop>, JobError> {
        let patterns = &self.request.target.vaults;
        if !patterns.iter().any(|pattern| pattern.contains(['*', '?'])) {
            return Ok(Ok(patterns.iter().filter_map(|name| name.parse().ok()).collect()));
        }
        let (mut found, mut pages) = (BTreeSet::new(), Pages::of_vaults());
        loop {
            let page = match self.call().list_vaults(place.clone(), pages.next()).await {
                Ok(page) => page,
                Err(Refusal::NotAuthorized { .. }) => {
                    return Ok(Err(Stop::new(
                        "not-authorized",
                        "The job's creator may not list the vaults that it asks for by wildcards \
                         (glacier:ListVaults). Name the vaults, or ask for leave.",
                    )));
                }
                Err(refusal) => return Err(refusal.into()),
            };
            let fits = |name: &str| patterns.iter().any(|pattern| matches_wildcards(pattern, name));
            let names = page.vaults.iter().map(|vault| vault.vault_name.as_str());
            found.extend(names.filter(|name| fits(name)).filter_map(|name| name.parse().ok()));
            if !pages.go_on(page.marker).map_err(Refusal::from)? {
                return Ok(Ok(found));
            }
        }
    }

    /// Lists the uploads of one vault.
    async fn vault(&mut self, vault: VaultArn) -> Done {
        let mut pages = Pages::of_uploads();
        // A list that changes while it is read may name an upload twice.
        let mut seen = HashSet::new();
        loop {
            let page = self.call().list_multipart_uploads(vault.clone(), pages.next()).await;
            let page = match page {
                Ok(page) => page,
                Err(Refusal::NotAuthorized { .. }) => {
                    self.preview.vaults_denied += 1;
                    return Ok(Ok(()));
                }
                Err(Refusal::Upstream(error)) if error.kind == UpstreamErrorKind::VaultNotFound => {
                    self.preview.vaults_not_found += 1;
                    return Ok(Ok(()));
                }
                Err(refusal) => return Err(refusal.into()),
            };
            for upload in page.uploads {
                self.preview.uploads += 1;
                let listed = Listed::read(upload).ok_or_else(|| {
                    let cause = "an upload of the list cannot be one";
                    let operation = Operation::ListMultipartUploads;
                    Refusal::from(UpstreamError::invalid_response(operation, cause))
                })?;
                if self.selects(&listed) && seen.insert(listed.upload.clone()) {
                    self.selected.push((vault.clone(), listed));
                }
            }
            if self.selected.len() >= CHUNK
                && let Err(stop) = self.insert().await?
            {
                return Ok(Err(stop));
            }
            if !pages.go_on(page.marker).map_err(Refusal::from)? {
                self.preview.vaults += 1;
                return Ok(Ok(()));
            }
        }
    }

    fn selects(&self, upload: &Listed) -> bool {
        let select = &self.request.select;
        let created = time(upload.created);
        let age = OffsetDateTime::now_utc() - created;
        let description = upload.description.as_deref().unwrap_or_default();
        select.older_than.is_none_or(|least| age >= least.0)
            && select.initiated_before.is_none_or(|latest| created < latest)
            && select
                .description_matches
                .as_ref()
                .is_none_or(|pattern| matches_wildcards(pattern, description))
    }

    /// Writes the items that were selected so far.
    async fn insert(&mut self) -> Done {
        let store = self.jobs.store()?;
        let found = self.n + i64::try_from(self.selected.len()).unwrap_or(i64::MAX);
        if found > i64::from(self.request.max_uploads) {
            return Ok(Err(Stop::new(
                "too-many-uploads",
                format!(
                    "More uploads fit than maxUploads ({}) allows. Select fewer, or raise it.",
                    self.request.max_uploads
                ),
            )));
        }
        let begin = store.begin();
        let most = i64::from(self.jobs.gateway.settings.jobs.items_per_team);
        for chunk in self.selected.chunks(CHUNK) {
            let added = i64::try_from(chunk.len()).unwrap_or(i64::MAX);
            let places = values(chunk.len(), 8, 0).replace(')', ", 'found')");
            let sql = format!(
                "INSERT INTO job_item (job, n, account, region, vault, upload, created, \
                 description, state) VALUES {places}"
            );
            let count = "UPDATE job SET selected = selected + $2, revision = revision + 1 \
                         WHERE id = $1 AND state = 'preparing' AND epoch = $3 \
                         AND error_code IS NULL";
            let all = "SELECT CAST(coalesce(sum(selected), 0) AS BIGINT) FROM job \
                       WHERE team = $1 AND finished IS NULL";
            let mut n = self.n;
            let (is_mine, items) = both!(store, pool => {
                let mut transaction = pool.begin_with(begin).await?;
                let mine = sqlx::query(count)
                    .bind(&self.row.id)
                    .bind(added)
                    .bind(self.lease.epoch)
                    .execute(&mut *transaction)
                    .await?;
                let (items,): (i64,) = sqlx::query_as(all)
                    .bind(&self.row.team)
                    .fetch_one(&mut *transaction)
                    .await?;
                if mine.rows_affected() == 1 {
                    let mut query = sqlx::query(AssertSqlSafe(sql));
                    for (vault, listed) in chunk {
                        query = query
                            .bind(&self.row.id)
                            .bind(n)
                            .bind(vault.account.as_str())
                            .bind(vault.region.as_str())
                            .bind(vault.vault.as_str())
                            .bind(listed.upload.as_str())
                            .bind(listed.created)
                            .bind(listed.description.as_deref());
                        n += 1;
                    }
                    query.execute(&mut *transaction).await?;
                }
                transaction.commit().await?;
                (mine.rows_affected() == 1, items)
            }, JobError);
            if !is_mine {
                // It was cancelled, or another process does this now.
                return Err(JobError::Conflict(State::Preparing));
            }
            if items > most {
                let detail = format!("The team's jobs have {items} items, and may have {most}.");
                return Ok(Err(Stop::new("job-limit-reached", detail)));
            }
            self.n = n;
        }
        self.selected.clear();
        Ok(Ok(()))
    }
}
