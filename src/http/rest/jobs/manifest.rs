//! A list of uploads as CSV.

use actix_web::{HttpMessage, HttpRequest};
use csv::{Error, ErrorKind, Position, ReaderBuilder, StringRecord, Trim};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use utoipa::IntoParams;

use super::super::super::{
    parameters::Parameters,
    problem::{Code, Problem},
};
use crate::jobs::{
    IsoDuration,
    model::{
        Confirm, JobTarget, MAX_FAILURE_RATE, MAX_UPLOAD_IDS, MAX_UPLOADS, NewAbortJob, Placed,
        Select, UploadName,
    },
};

/// What a body of JSON says beside the uploads. For a body of CSV alone.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code)]
pub struct ManifestParameters {
    /// With CSV: the job's team.
    team: Option<String>,
    /// With CSV: why.
    reason: Option<String>,
    /// With CSV: the account of uploads whose line names none.
    account: Option<String>,
    /// With CSV: the region of uploads whose line names none.
    region: Option<String>,
    /// With CSV: the vault of uploads whose line names none.
    vault: Option<String>,
    /// With CSV: `quietFor` of the selection.
    #[param(rename = "quietFor")]
    quiet_for: Option<String>,
    /// With CSV: whether somebody must confirm the job.
    confirm: Option<Confirm>,
    /// With CSV: `maxUploads` of the job.
    #[param(rename = "maxUploads", minimum = 1)]
    max_uploads: Option<u32>,
    /// With CSV: `maxFailureRate` of the job.
    #[param(rename = "maxFailureRate", minimum = 0, maximum = 1)]
    max_failure_rate: Option<f64>,
    /// With CSV: not to abort anything before this.
    #[param(rename = "notBefore", value_type = Option<String>, format = DateTime)]
    not_before: Option<String>,
}

/// Whether the body is CSV.
pub fn is_csv(request: &HttpRequest) -> bool {
    request.content_type().eq_ignore_ascii_case("text/csv")
}

/// What the parameters say of a list of uploads.
pub struct Manifest {
    request: NewAbortJob,
    account: Option<String>,
    region: Option<String>,
    vault: Option<String>,
}

impl Manifest {
    /// Reads the parameters.
    pub fn of(parameters: &Parameters) -> Result<Self, Problem> {
        parameters.only(&[
            "team",
            "reason",
            "account",
            "region",
            "vault",
            "quietFor",
            "confirm",
            "maxUploads",
            "maxFailureRate",
            "notBefore",
        ])?;
        let text = |name| parameters.given(name, |text| Ok::<_, &str>(text.to_owned()));
        let all = || vec!["*".to_owned()];
        let quiet_for = parameters.given("quietFor", str::parse::<IsoDuration>)?;
        let confirm = parameters.given("confirm", |text| match text {
            "required" => Ok(Confirm::Required),
            "auto" => Ok(Confirm::Auto),
            "never" => Ok(Confirm::Never),
            _ => Err("write required, auto or never"),
        })?;
        let max_uploads = parameters.given("maxUploads", str::parse::<u32>)?;
        let max_failure_rate = parameters.given("maxFailureRate", str::parse::<f64>)?;
        let not_before =
            parameters.given("notBefore", |text| OffsetDateTime::parse(text, &Rfc3339))?;
        let request = NewAbortJob {
            team: text("team")?,
            target: JobTarget { accounts: all(), regions: all(), vaults: all() },
            select: Select { quiet_for, ..Select::default() },
            reason: text("reason")?,
            max_uploads: max_uploads.unwrap_or(MAX_UPLOADS),
            max_failure_rate: max_failure_rate.unwrap_or(MAX_FAILURE_RATE),
            not_before,
            confirm: confirm.unwrap_or_default(),
        };
        Ok(Self {
            request,
            account: text("account")?,
            region: text("region")?,
            vault: text("vault")?,
        })
    }

    /// Reads the list. Columns that it does not know, such as those of a report, are left out.
    pub fn read(self, body: &[u8]) -> Result<NewAbortJob, Problem> {
        let Self { mut request, account, region, vault } = self;
        let mut reader = ReaderBuilder::new().has_headers(false).trim(Trim::All).from_reader(body);
        let mut columns = None;
        let mut uploads = Vec::new();
        for line in reader.records() {
            let line = line.map_err(|error| unreadable(body, &error))?;
            let wrong = |what: &str| at_line(number(body, line.position()), what);
            let columns = match &columns {
                Some(columns) => columns,
                None => {
                    let is_header = line.iter().any(|name| name.eq_ignore_ascii_case("uploadId"));
                    if !is_header && line.len() > 1 {
                        return Err(wrong("name the columns first, one of them uploadId"));
                    }
                    let found = columns.insert(Columns::of(is_header.then_some(&line)));
                    if is_header {
                        continue;
                    }
                    found
                }
            };
            if uploads.len() == MAX_UPLOAD_IDS {
                return Err(wrong(&format!("a job takes at most {MAX_UPLOAD_IDS} uploads")));
            }
            let field = |at: Option<usize>| {
                let field = at.and_then(|at| line.get(at)).filter(|field| !field.is_empty());
                field.map(str::to_owned)
            };
            let vault_name = field(columns.vault).or(vault.clone());
            let upload_id = field(columns.upload).ok_or_else(|| wrong("it names no upload"))?;
            uploads.push(UploadName::Placed(Placed {
                account_id: field(columns.account)
                    .or(account.clone())
                    .unwrap_or_else(|| "-".to_owned()),
                region: field(columns.region).or(region.clone()),
                vault_name: vault_name.ok_or_else(|| wrong("it names no vault"))?,
                upload_id: upload_id.parse().map_err(|error| wrong(&format!("{error}")))?,
            }));
        }
        request.select.upload_ids = Some(uploads);
        Ok(request)
    }
}

/// Where the columns are.
struct Columns {
    account: Option<usize>,
    region: Option<usize>,
    vault: Option<usize>,
    upload: Option<usize>,
}

impl Columns {
    /// Those that `header` names; without one there are only uploads.
    fn of(header: Option<&StringRecord>) -> Self {
        let Some(header) = header else {
            return Self { account: None, region: None, vault: None, upload: Some(0) };
        };
        let at = |wanted: &str| header.iter().position(|name| name.eq_ignore_ascii_case(wanted));
        Self {
            account: at("accountId"),
            region: at("region"),
            vault: at("vaultName"),
            upload: at("uploadId"),
        }
    }
}

fn at_line(number: u64, what: &str) -> Problem {
    Problem::new(Code::InvalidParameter, format!("line {number} of the CSV: {what}."))
}

/// The number of the line of a record. Where the reader says that it begins, there may be the
/// rest of the line before, and empty lines.
fn number(body: &[u8], position: Option<&Position>) -> u64 {
    let from = position.and_then(|position| usize::try_from(position.byte()).ok()).unwrap_or(0);
    let (before, rest) = body.split_at(from.min(body.len()));
    let skipped = rest.iter().take_while(|byte| matches!(byte, b'\r' | b'\n'));
    before.iter().chain(skipped).fold(1, |lines, byte| lines + u64::from(*byte == b'\n'))
}

fn unreadable(body: &[u8], error: &Error) -> Problem {
    let number = number(body, error.position());
    match error.kind() {
        ErrorKind::UnequalLengths { expected_len, len, .. } => at_line(
            number,
            &format!(
                "it has {len} columns, and the first line {expected_len}; is a quotation mark left open?"
            ),
        ),
        ErrorKind::Utf8 { .. } => at_line(number, "it is not UTF-8"),
        _ => at_line(number, "it cannot be read"),
    }
}
