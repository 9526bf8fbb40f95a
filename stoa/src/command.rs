//! The command line: what can be said, not what it does.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Stoa: the front of a marketplace of small web apps. Reverse proxy, certificates, limits and metering.
#[derive(Debug, Parser)]
#[command(name = "stoa", version, disable_help_subcommand = true)]
pub(crate) struct Line {
    /// What to do.
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Run everything in this process: edge, certificates, API, and a demo app on the first start.
    Up {
        /// The store was restored from a backup: edges fetch everything anew.
        #[arg(long)]
        restored: bool,
        #[command(flatten)]
        place: Place,
    },
    /// Run one role of an installation that has outgrown one process.
    Run {
        /// Which role.
        #[arg(long)]
        role: Role,
        /// The store was restored from a backup: edges fetch everything anew.
        #[arg(long)]
        restored: bool,
        #[command(flatten)]
        place: Place,
    },
    /// Check a configuration without starting anything; exit code 2 if it is not valid.
    Check(Place),
    /// Tell what a configuration would change for the stoa that runs: each key, old and new, and whether a reload
    /// (SIGHUP) is enough. Exit code 0: nothing, 1: something, 2: it is not valid, or no stoa runs.
    Diff {
        #[command(flatten)]
        place: Place,
        /// Data directory of the stoa that runs, if the configuration names another.
        #[arg(long, value_name = "DIR")]
        running: Option<PathBuf>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// The store itself.
    #[command(subcommand)]
    Store(StoreVerb),
    /// The keys that seal every secret in the store.
    #[command(subcommand)]
    MasterKey(MasterKeyVerb),
    /// Make this machine trust the local certificate authority, for curl and Chromium.
    Trust(Place),
    /// Domain Connect: who we are to creators' providers.
    #[command(subcommand)]
    DomainConnect(DomainConnectVerb),
    /// Look for what is wrong: configuration, data, keys, listeners, API, name servers.
    Doctor(Place),
    /// Tenants: who owns apps, is limited and is billed.
    #[command(subcommand)]
    Tenant(TenantVerb),
    /// Apps and their backends.
    #[command(subcommand)]
    App(AppVerb),
    /// Creators' own domains.
    #[command(subcommand)]
    Domain(DomainVerb),
    /// What an account should know, e.g. that another one wants its domain.
    #[command(subcommand)]
    Notice(NoticeVerb),
    /// Certificates.
    #[command(subcommand)]
    Cert(CertVerb),
    /// What a tenant used.
    Usage(Usage),
    /// API keys.
    #[command(subcommand)]
    Key(KeyVerb),
    /// Who did what.
    Audit {
        /// Only this tenant's events.
        #[arg(long)]
        tenant: Option<String>,
        #[command(flatten)]
        target: Target,
    },
    /// The edges that serve visitors, and how far each is.
    Edge(Target),
    /// The certificate authorities.
    #[command(subcommand)]
    Ca(CaVerb),
}

impl Verb {
    /// Whether it runs until it is told to end.
    pub(crate) const fn is_service(&self) -> bool {
        matches!(self, Self::Up { .. } | Self::Run { .. })
    }
}

/// `stoa domain-connect …`
#[derive(Debug, Subcommand)]
pub(crate) enum DomainConnectVerb {
    /// Print the templates to submit to providers, and the TXT records of the key that signs links.
    Template(Place),
}

/// What is done about the certificate authorities.
#[derive(Debug, Subcommand)]
pub(crate) enum CaVerb {
    /// Whether they work, and what they still allow.
    List(Target),
    /// Give our account with one another key.
    ChangeKey {
        /// The authority's directory, https://…
        directory: String,
        #[command(flatten)]
        target: Target,
    },
}

/// `stoa store …`
#[derive(Debug, Subcommand)]
pub(crate) enum StoreVerb {
    /// Fill an empty store with what edges know, after the database was lost: tenants, apps, proved domains and
    /// certificates. The control plane must not run; edges may.
    Rebuild {
        /// An edge's replica (`edge.replica`) or its data directory; repeatable: the furthest one is taken.
        #[arg(long, value_name = "FILE", required = true)]
        from: Vec<PathBuf>,
        /// File with the API key of an edge that ran apart: it opens the edge's replica, and is valid again; repeatable.
        #[arg(long, value_name = "FILE")]
        edge_key_file: Vec<PathBuf>,
        /// Go on though certificates that are still valid cannot be taken in: edges drop those.
        #[arg(long)]
        leave_out: bool,
        #[command(flatten)]
        place: Place,
    },
}

/// `stoa master-key …`
#[derive(Debug, Subcommand)]
pub(crate) enum MasterKeyVerb {
    /// Which keys there are, which one seals, and how much each has sealed.
    List(Place),
    /// Make another key. It opens from now on, and seals after `rotate`.
    Add {
        /// Take the keys of another node's file in place of a new one.
        #[arg(long, value_name = "FILE")]
        from: Option<PathBuf>,
        #[command(flatten)]
        place: Place,
    },
    /// Have the newest key seal in every process, and seal everything in the store anew. Goes on where it was broken off.
    Rotate(Place),
    /// Take a key away that nothing is sealed with any more.
    Retire {
        /// Its fingerprint, as `stoa master-key list` shows it.
        fingerprint: String,
        #[command(flatten)]
        place: Place,
    },
}

/// Where the configuration and the data are.
#[derive(Debug, Clone, Args)]
pub(crate) struct Place {
    /// Configuration file; without it everything has a default.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Data directory, in place of the configuration's.
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
}

/// Where the store comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// It is as this installation left it.
    Own,
    /// From a backup.
    Restored,
}

impl From<bool> for Origin {
    fn from(restored: bool) -> Self {
        if restored { Self::Restored } else { Self::Own }
    }
}

/// Which part of an installation a process is.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Role {
    /// Serves visitors; knows no database.
    Edge,
    /// Store, certificates and API.
    Control,
}

/// Which API a client command speaks to, and how it prints.
#[derive(Debug, Clone, Args)]
pub(crate) struct Target {
    /// Print the API's JSON.
    #[arg(long)]
    pub(crate) json: bool,
    /// Address of the API; else STOA_URL, else http://127.0.0.1:8090.
    #[arg(long, value_name = "URL")]
    pub(crate) url: Option<String>,
    /// File with the key; else STOA_KEY, else stoa-data/platform-key.
    #[arg(long, value_name = "FILE")]
    pub(crate) key_file: Option<PathBuf>,
}

/// `stoa tenant …`
#[derive(Debug, Subcommand)]
pub(crate) enum TenantVerb {
    /// All tenants.
    List(Target),
    /// One tenant.
    Get {
        /// Its id, t_…
        tenant: String,
        #[command(flatten)]
        target: Target,
    },
    /// A new tenant.
    Create {
        /// Name for people.
        name: String,
        /// Short name for logs and metrics; else made from the name.
        #[arg(long)]
        slug: Option<String>,
        #[command(flatten)]
        target: Target,
    },
    /// Give a tenant another name.
    Rename {
        /// Its id, t_…
        tenant: String,
        /// The new name.
        name: String,
        #[command(flatten)]
        target: Target,
    },
    /// Remove a tenant with everything it has.
    Delete {
        /// Its id, t_…
        tenant: String,
        #[command(flatten)]
        target: Target,
    },
    /// Stop serving a tenant's apps; nothing is deleted.
    Suspend {
        /// Its id, t_…
        tenant: String,
        /// Why, for the audit log.
        #[arg(long)]
        reason: Option<String>,
        #[command(flatten)]
        target: Target,
    },
    /// Serve a suspended tenant's apps again.
    Resume {
        /// Its id, t_…
        tenant: String,
        #[command(flatten)]
        target: Target,
    },
    /// Show a tenant's limits; set them with --all and --visitor together, or go back with --default.
    Limits {
        /// Its id, t_…
        tenant: String,
        /// All visitors together: requests a minute and burst, e.g. 60000,5000.
        #[arg(long, value_name = "RPM,BURST", requires = "visitor")]
        all: Option<String>,
        /// Each visitor: requests a minute and burst, e.g. 3000,200.
        #[arg(long, value_name = "RPM,BURST", requires = "all")]
        visitor: Option<String>,
        /// Go back to the limits that every tenant has.
        #[arg(long, conflicts_with = "all")]
        default: bool,
        #[command(flatten)]
        target: Target,
    },
}

/// `stoa app …`
#[derive(Debug, Subcommand)]
pub(crate) enum AppVerb {
    /// A tenant's apps.
    List {
        /// The tenant, t_…
        tenant: String,
        #[command(flatten)]
        target: Target,
    },
    /// One app.
    Get {
        /// Its id, a_…
        app: String,
        #[command(flatten)]
        target: Target,
    },
    /// A new app; it answers at <name>.<zone> at once.
    Create {
        /// The tenant, t_…
        tenant: String,
        /// The app's name, the first part of its address.
        name: String,
        /// Where it runs, e.g. http://127.0.0.1:3000 or http://127.0.0.1:3000,5 for weight 5; repeatable.
        #[arg(long = "backend", value_name = "URL[,WEIGHT]")]
        backends: Vec<String>,
        #[command(flatten)]
        target: Target,
    },
    /// Replace an app's backends.
    Backends {
        /// Its id, a_…
        app: String,
        /// Where it runs; repeatable.
        #[arg(long = "backend", value_name = "URL[,WEIGHT]", required = true)]
        backends: Vec<String>,
        #[command(flatten)]
        target: Target,
    },
    /// Change an app's time limits, health checks and load limits; those that are not named stay.
    Settings {
        /// Its id, a_…
        app: String,
        /// A setting, e.g. total_timeout_ms=60000 or health_path=/up; null sets the default, @FILE the text of a file;
        /// repeatable.
        #[arg(value_name = "NAME=VALUE", required = true)]
        settings: Vec<String>,
        #[command(flatten)]
        target: Target,
    },
    /// Remove an app and its domains.
    Delete {
        /// Its id, a_…
        app: String,
        #[command(flatten)]
        target: Target,
    },
}

/// `stoa domain …`
#[derive(Debug, Subcommand)]
pub(crate) enum DomainVerb {
    /// An app's domains.
    List {
        /// The app, a_…
        app: String,
        #[command(flatten)]
        target: Target,
    },
    /// One domain: its status and the next step.
    Get {
        /// Its id, dom_…
        domain: String,
        #[command(flatten)]
        target: Target,
    },
    /// Connect a domain to an app; prints the record to create.
    Add {
        /// The app, a_…
        app: String,
        /// The domain, e.g. shop.example.com.
        hostname: String,
        #[command(flatten)]
        target: Target,
    },
    /// Tell what a domain has today, what would change if it were connected, and that e-mail stays as it is.
    Inspect {
        /// The domain, e.g. example.com.
        hostname: String,
        #[command(flatten)]
        target: Target,
    },
    /// Look at the domain's records now.
    Check {
        /// Its id, dom_…
        domain: String,
        #[command(flatten)]
        target: Target,
    },
    /// A link with which a creator confirms the records on the pages of their own provider, if it has such pages.
    Link {
        /// Its id, dom_…
        domain: String,
        #[command(flatten)]
        target: Target,
    },
    /// Have a domain's records set at its provider: see what would be changed, set it, take it back.
    Connect(Box<Connect>),
    /// Follow a domain until it is live; meanwhile its records are looked up every few seconds.
    Watch {
        /// Its id, dom_…, or its name.
        domain: String,
        #[command(flatten)]
        target: Target,
    },
    /// Decide about a domain that another account has proved to be theirs.
    Transfer {
        /// Its id, dom_…
        domain: String,
        /// What is decided.
        decision: TransferDecision,
        #[command(flatten)]
        target: Target,
    },
    /// Disconnect a domain.
    Delete {
        /// Its id, dom_…
        domain: String,
        #[command(flatten)]
        target: Target,
    },
    /// Ask a domain's visitors for client certificates.
    #[command(subcommand)]
    ClientCa(ClientCaVerb),
}

/// `stoa domain connect`; with nothing but the domain, how far it is.
#[derive(Debug, Args)]
pub(crate) struct Connect {
    /// Its id, dom_…
    pub(crate) domain: String,
    /// powerdns, rfc2136, cloudflare or digitalocean; else the one of before, with the key that is kept.
    #[arg(long, requires = "token_file")]
    pub(crate) provider: Option<String>,
    /// File with the provider's key (API token, API key, or TSIG key in base64); - for standard input.
    #[arg(long, value_name = "FILE", requires = "provider")]
    pub(crate) token_file: Option<PathBuf>,
    /// Show what would be changed, and change nothing.
    #[arg(long, group = "step")]
    pub(crate) preview: bool,
    /// Set the records as they were shown, or at once if a provider is given.
    #[arg(long, group = "step")]
    pub(crate) apply: bool,
    /// Take back what was set.
    #[arg(long, group = "step")]
    pub(crate) undo: bool,
    /// Forget the key, and how the records are taken back; the records stay.
    #[arg(long, group = "step")]
    pub(crate) forget: bool,
    /// Forget the key as soon as this step is done.
    #[arg(long)]
    pub(crate) forget_key: bool,
    /// The zone's name at the provider, if the name servers do not tell.
    #[arg(long)]
    pub(crate) zone: Option<String>,
    /// powerdns: where its API is, https://…
    #[arg(long, value_name = "URL")]
    pub(crate) api_url: Option<String>,
    /// rfc2136: the primary server, host:port.
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) server: Option<String>,
    /// rfc2136: the name of the key.
    #[arg(long, value_name = "NAME")]
    pub(crate) key_name: Option<String>,
    /// rfc2136: hmac-sha256 (the default), hmac-sha384 or hmac-sha512.
    #[arg(long)]
    pub(crate) algorithm: Option<String>,
    #[command(flatten)]
    pub(crate) target: Target,
}

/// What is decided about a domain that another account has proved.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum TransferDecision {
    /// It moves there at once.
    Release,
    /// It stays; an operator's key only.
    Keep,
}

impl TransferDecision {
    /// The word in the API.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::Keep => "keep",
        }
    }
}

/// `stoa notice …`
#[derive(Debug, Subcommand)]
pub(crate) enum NoticeVerb {
    /// All notices that the key may see.
    List(Target),
    /// Take a notice away that was read.
    Delete {
        /// Its id, ntc_…
        notice: String,
        #[command(flatten)]
        target: Target,
    },
}

/// `stoa domain client-ca …`
#[derive(Debug, Subcommand)]
pub(crate) enum ClientCaVerb {
    /// Let in only who shows a certificate of this authority.
    Set {
        /// The domain's id, dom_…
        domain: String,
        /// PEM file: 1 to 16 certificates of authorities, no private key.
        file: PathBuf,
        #[command(flatten)]
        target: Target,
    },
    /// Ask visitors for nothing.
    Remove {
        /// The domain's id, dom_…
        domain: String,
        #[command(flatten)]
        target: Target,
    },
}

/// `stoa cert …`
#[derive(Debug, Subcommand)]
pub(crate) enum CertVerb {
    /// All certificates that the key may see.
    List(Target),
    /// One certificate.
    Get {
        /// Its id, crt_…
        certificate: String,
        #[command(flatten)]
        target: Target,
    },
    /// Upload a certificate for an app's names.
    Upload {
        /// The app, a_…
        app: String,
        /// PEM file: the certificate first, then its chain.
        #[arg(long, value_name = "FILE")]
        chain: PathBuf,
        /// PEM file: the private key.
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        #[command(flatten)]
        target: Target,
    },
    /// Renew a certificate now.
    Renew {
        /// Its id, crt_…
        certificate: String,
        #[command(flatten)]
        target: Target,
    },
    /// Serve the certificate again that was served before this one.
    RollBack {
        /// The id of the one that is served now, crt_…
        certificate: String,
        #[command(flatten)]
        target: Target,
    },
}

/// `stoa usage`
#[derive(Debug, Args)]
pub(crate) struct Usage {
    /// The tenant, t_…
    pub(crate) tenant: String,
    /// First moment, e.g. 2026-11-01T00:00:00Z; else the start of this month.
    #[arg(long)]
    pub(crate) from: Option<String>,
    /// First moment after, else now.
    #[arg(long)]
    pub(crate) to: Option<String>,
    /// app, class, hour or day.
    #[arg(long)]
    pub(crate) group_by: Option<String>,
    #[command(flatten)]
    pub(crate) target: Target,
}

/// `stoa key …`
#[derive(Debug, Subcommand)]
pub(crate) enum KeyVerb {
    /// All keys that the key may see, without their secrets.
    List(Target),
    /// A new key; its secret is shown once.
    Create {
        /// What it may do.
        #[arg(long)]
        scope: KeyScope,
        /// The tenant of a tenant's key, t_…
        #[arg(long)]
        tenant: Option<String>,
        /// Name for people.
        #[arg(long)]
        name: Option<String>,
        #[command(flatten)]
        target: Target,
    },
    /// Revoke a key.
    Delete {
        /// Its id, key_…
        key: String,
        #[command(flatten)]
        target: Target,
    },
}

/// What a key may do.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum KeyScope {
    /// Everything: an operator's key.
    Platform,
    /// Everything of one tenant.
    Tenant,
    /// The feed of an edge, nothing else.
    Edge,
}

impl KeyScope {
    /// The word in the API.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Platform => "platform",
            Self::Tenant => "tenant",
            Self::Edge => "edge",
        }
    }
}
