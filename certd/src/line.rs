//! Which orders of those in line are worked on next.

use std::collections::HashMap;

use model::Host;

use crate::acme::registered_domain;

/// Most orders for names of one registered domain that are worked on at a time, by all processes together: their
/// name servers are the same.
const OF_ONE_DOMAIN: usize = 4;

/// How many orders are worked on for each registered domain, by whichever process.
#[derive(Debug, Clone, Default)]
pub struct Crowds(HashMap<String, usize>);

impl Crowds {
    /// One more is worked on.
    pub fn join(&mut self, host: &Host) {
        *self.of(host) += 1;
    }

    /// One was worked on.
    pub fn leave(&mut self, host: &Host) {
        let crowd = self.of(host);
        *crowd = crowd.saturating_sub(1);
        if *crowd == 0 {
            self.0.remove(registered_domain(host));
        }
    }

    fn of(&mut self, host: &Host) -> &mut usize {
        self.0.entry(registered_domain(host).to_owned()).or_default()
    }

    /// The first `most` of the orders in line whose registered domain is not worked on enough; they are counted from
    /// now on.
    pub fn pick<'a, T>(&mut self, in_line: impl IntoIterator<Item = (T, &'a Host)>, most: usize) -> Vec<T> {
        let mut picked = Vec::new();
        for (order, host) in in_line {
            if picked.len() >= most {
                break;
            }
            let crowd = self.of(host);
            if *crowd < OF_ONE_DOMAIN {
                *crowd += 1;
                picked.push(order);
            }
        }
        picked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_registered_domain_does_not_take_the_places_of_others() {
        let names = (0..6).map(|number| format!("a{number}.example.co.uk")).chain(["b.test".to_owned()]);
        let hosts: Vec<Host> = names.map(|name| Host::parse(&name).unwrap()).collect();
        let in_line = || hosts.iter().enumerate();
        let mut crowds = Crowds::default();
        assert_eq!(crowds.pick(in_line(), 3), [0, 1, 2]);
        assert_eq!(crowds.pick(in_line().skip(3), 10), [3, 6]);
        crowds.leave(&hosts[0]);
        assert_eq!(crowds.pick(in_line().skip(4), 10), [4, 6]);
    }
}
