//! HTTP/2 from visitors who are right, wrong, slow or hostile.

mod floods;
mod sections;
