//! Which request goes where. The routes whose handlers take no `Call` are the public
//! ones: the OpenAPI document and Swagger UI.

use actix_web::{
    App, Error,
    body::BoxBody,
    dev::{ServiceFactory, ServiceRequest, ServiceResponse},
    middleware::from_fn,
    web::{self, Data},
};
use utoipa::OpenApi as _;
use utoipa_actix_web::{AppExt, service_config::ServiceConfig};

use super::{
    aws, body, docs,
    methods::{Methods, unmatched},
    observe::observe,
    rest::{
        access, accounts, audit, inventory, jobs, lifecycle,
        openapi::{self, Document, Rendered},
        uploads, vaults,
    },
};
use crate::{gateway::Gateway, jobs::Jobs, lifecycle::Lifecycle};

/// The API's operations. A new one is added here and nowhere else.
fn operations(config: &mut ServiceConfig<'_>) {
    // Routes are tried in this order: first what is asked for most. They share no scope,
    // through which each request would have to go as well.
    config
        .service(uploads::abort)
        .service(uploads::list)
        .service(uploads::parts)
        .service(vaults::describe)
        .service(vaults::list)
        .service(accounts::list)
        .service(inventory::show)
        .service(inventory::list)
        .service(inventory::runs::start)
        .service(inventory::runs::list)
        .service(inventory::runs::show)
        .service(access::show)
        .service(access::simulate)
        .service(audit::list)
        .service(audit::event)
        .service(audit::checkpoint)
        .service(audit::tile)
        .service(jobs::create)
        .service(jobs::list)
        .service(jobs::show)
        .service(jobs::items)
        .service(jobs::follow)
        .service(jobs::download)
        .service(jobs::confirm)
        .service(jobs::pause)
        .service(jobs::resume)
        .service(jobs::cancel)
        .service(jobs::retry_failed)
        .service(lifecycle::list)
        .service(lifecycle::show)
        .service(lifecycle::run);
}

/// The OpenAPI document of all operations.
pub fn document() -> utoipa::openapi::OpenApi {
    let (_, document) = App::new()
        .into_utoipa_app()
        .openapi(Document::openapi())
        .configure(operations)
        .split_for_parts();
    document
}

/// What the REST listener's workers share.
#[derive(Clone)]
pub struct Shared {
    gateway: Data<Gateway>,
    jobs: Data<Jobs>,
    lifecycle: Data<Lifecycle>,
    rendered: Data<Rendered>,
    methods: Data<Methods>,
}

impl Shared {
    /// Prepares what is the same for all workers.
    ///
    /// # Errors
    /// When the OpenAPI document cannot be written out.
    pub fn new(
        gateway: Data<Gateway>,
        jobs: Data<Jobs>,
        lifecycle: Data<Lifecycle>,
    ) -> Result<Self, Box<dyn std::error::Error>> {
        let mut document = document();
        if let Some(sign_in) = &gateway.settings.swagger_ui {
            openapi::add_sign_in(&mut document, sign_in);
        }
        let rendered = Data::new(Rendered::new(&document)?);
        Ok(Self { gateway, jobs, lifecycle, rendered, methods: Data::new(Methods::of(&document)) })
    }
}

/// One worker's application.
pub fn app(
    shared: &Shared,
) -> App<
    impl ServiceFactory<
        ServiceRequest,
        Config = (),
        Response = ServiceResponse<BoxBody>,
        Error = Error,
        InitError = (),
    > + use<>,
> {
    let (app, _) = App::new()
        .app_data(shared.gateway.clone())
        .app_data(shared.jobs.clone())
        .app_data(shared.lifecycle.clone())
        .app_data(shared.rendered.clone())
        .app_data(shared.methods.clone())
        .app_data(body::json_config(&shared.gateway.settings.limits.server))
        .into_utoipa_app()
        .configure(operations)
        .split_for_parts();
    app.configure(aws::routes)
        .service(openapi::json)
        .service(openapi::yaml)
        .service(web::redirect("/docs", "/docs/"))
        .service(docs::swagger_ui(shared.gateway.settings.swagger_ui.as_ref()))
        .default_service(web::to(unmatched))
        .wrap(from_fn(observe))
}
