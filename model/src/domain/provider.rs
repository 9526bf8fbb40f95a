//! The company that keeps a domain's records, as far as its form for records differs from others'.

use serde::{Deserialize, Serialize};

use super::connection::Connector;
use super::{Record, RecordKind};
use crate::Host;

/// How a provider's form wants the name of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NameForm {
    /// The part before the domain, and `@` for the domain itself.
    #[default]
    At,
    /// The part before the domain, and nothing for the domain itself.
    Empty,
    /// The whole name.
    Full,
}

/// A provider and its ways.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provider {
    /// As people know it.
    pub name: String,
    /// How its form wants the name of a record.
    #[serde(default)]
    pub form: NameForm,
    /// Whether the domain itself can be made an alias there (ALIAS, ANAME, or a CNAME that is flattened).
    #[serde(default)]
    pub apex_alias: bool,
    /// What goes wrong there most often: one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trap: Option<String>,
    /// With which records; none named: with any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trap_kinds: Vec<RecordKind>,
    /// Whether only with records of the domain itself.
    #[serde(default)]
    pub trap_apex: bool,
    /// How we can set records there ourselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect: Option<Connector>,
}

impl Provider {
    /// What goes wrong there with this record, whose domain is `zone`.
    #[must_use]
    pub fn trap_of(&self, record: &Record, zone: Option<&Host>) -> Option<&str> {
        let concerns = self.trap_kinds.is_empty() || self.trap_kinds.contains(&record.kind);
        let is_there = !self.trap_apex || zone.is_some_and(|zone| zone.as_str() == record.name);
        self.trap.as_deref().filter(|_| concerns && is_there)
    }

    /// One of which nothing but the name is known.
    #[must_use]
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            form: NameForm::default(),
            apex_alias: false,
            trap: None,
            trap_kinds: Vec::new(),
            trap_apex: false,
            connect: None,
        }
    }
}

impl NameForm {
    /// What to enter as the name of `record`, whose domain is `zone`. Values under underscores are no [`Host`], so
    /// this works on text.
    #[must_use]
    pub fn entry(self, record: &Record, zone: &Host) -> String {
        let name = record.name.as_str();
        let relative = match name.strip_suffix(zone.as_str()) {
            Some("") => "",
            Some(rest) => match rest.strip_suffix('.') {
                Some(labels) => labels,
                None => return name.to_owned(),
            },
            None => return name.to_owned(),
        };
        match (self, relative) {
            (Self::Full, _) => name.to_owned(),
            (Self::At, "") => "@".to_owned(),
            (_, relative) => relative.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trap_is_told_with_the_records_that_it_concerns() {
        let zone = Host::parse("example.com").unwrap();
        let provider = Provider {
            name: "Wix".to_owned(),
            form: NameForm::Empty,
            apex_alias: false,
            trap: Some("Mind it.".to_owned()),
            trap_kinds: vec![RecordKind::Cname],
            trap_apex: true,
            connect: None,
        };
        let told = |kind, name: &str| provider.trap_of(&Record::new(kind, name, "x"), Some(&zone)).is_some();
        assert!(told(RecordKind::Cname, "example.com"));
        assert!(!told(RecordKind::Txt, "example.com") && !told(RecordKind::Cname, "www.example.com"));
        let any = Provider { trap_kinds: Vec::new(), trap_apex: false, ..provider };
        assert!(any.trap_of(&Record::new(RecordKind::Txt, "x.example.com", "x"), None).is_some());
    }

    #[test]
    fn each_form_gets_the_name_as_it_wants_it() {
        let zone = Host::parse("example.com").unwrap();
        let entry = |form: NameForm, name: &str| {
            let record = Record::new(RecordKind::Cname, name, "d1.cname.apps.test");
            form.entry(&record, &zone)
        };
        let names = ["example.com", "shop.example.com", "_stoa.a.b.example.com", "badexample.com"];
        let wanted = [
            (NameForm::At, ["@", "shop", "_stoa.a.b", "badexample.com"]),
            (NameForm::Empty, ["", "shop", "_stoa.a.b", "badexample.com"]),
            (NameForm::Full, names),
        ];
        for (form, wanted) in wanted {
            assert_eq!(names.map(|name| entry(form, name)), wanted, "{form:?}");
        }
    }
}
