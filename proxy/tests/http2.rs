//! HTTP/2 from visitors who are right, wrong, slow or hostile.

mod deadlines;
mod floods;
mod harmless;
mod refusals;
mod sections;
