"""The service: networks are uploaded, questions asked, answers watched and kept, on one machine or a cluster."""
